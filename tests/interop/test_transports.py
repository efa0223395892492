"""Pictures come over TCP or UDP, as the manifest asks and the camera allows; UDP may reorder them."""

import pytest
from rigs.camera import Cameras
from rigs.manifests import Document, camera
from rigs.replay import Manners, Replay
from rigs.up import Runs
from rigs.viewer import Viewer


def over(transport: str, name: str, url: str) -> Document:
    document = camera(name, url)
    document["spec"]["source"]["main"]["transport"] = transport
    return document


@pytest.mark.parametrize(
    ("asked", "offered"),
    [("Auto", ("udp",)), ("Auto", ("tcp", "udp")), ("UDP", ("tcp", "udp")), ("UDP", ("tcp",)), ("TCP", ("tcp",))],
)
async def test_a_camera_plays_over_what_it_offers(
    asked: str, offered: tuple[str, ...], cameras: Cameras, up: Runs
) -> None:
    source = cameras(number=9, transports=offered)
    async with up(over(asked, "gate", source.url)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(30)
        assert viewer.unread <= viewer.frames // 20
    assert source.stats().sessions_total == 1


async def test_each_is_asked_in_its_turn(up: Runs) -> None:
    async with (
        Replay("plain", Manners(refuses="TCP")) as udp,
        Replay("plain", Manners(refuses="UDP")) as tcp,
        Replay("plain", Manners(refuses="TCP")) as strict,
        up(over("Auto", "udp", udp.url), over("UDP", "tcp", tcp.url), over("TCP", "strict", strict.url)) as run,
    ):
        await run.until("udp", "Live")
        await run.until("tcp", "Live")
        await run.until("strict", "Offline", reason="UnsupportedTransport")
        assert udp.transports == ["TCP", "UDP"]
        assert tcp.transports == ["UDP", "TCP"]
        assert set(strict.transports) == {"TCP"}


async def test_packets_out_of_order_are_put_in_order(up: Runs) -> None:
    async with Replay("marker-always", Manners(disorder=6)) as source, up(over("UDP", "gate", source.url)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(60)
        assert viewer.unread == 0
        assert len({seen.frame for _, seen in viewer.seen}) == 30, "none is missing"
        lost = [line for line in (await run.get("/metrics")).splitlines() if "lost" in line and "gate" in line]
        assert lost
        assert all(float(line.split()[-1]) == 0 for line in lost), lost
