"""A viewer whose way carries smaller packets than the relay's, such as a tunnel in a tunnel, sees the same pictures,
and costs nobody else the segmented sends that make the fan-out cheap."""

from pathlib import Path

import aiohttp
import pytest
from aiortc.rtcdtlstransport import RTCCertificate
from pancar_cli.bench.viewer import LightViewer
from pancar_cli.bench.viewer import Relay as Entrance
from pancar_proto.v1 import control_pb2 as pb
from rigs.far import browsing
from rigs.network import Host
from rigs.relay import Cameras, StartRelay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Less than a packet of pictures, which is 1,200 bytes before UDP and IP.
NARROW = 1000


@pytest.mark.parametrize("where", ["at-the-relay", "behind-a-router"])
async def test_pictures_come_through_and_others_keep_segmented_sends(
    where: str, host: Host, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    if where == "at-the-relay":
        host.narrow(NARROW)
    else:
        host.move_behind_router(NARROW)
    relay = await start_relay(PANCAR_MEDIA_LISTEN="[::]:0", PANCAR_MEDIA_ADDRESSES=host.gateway)
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    packets: list[float] = []
    other = LightViewer(
        Entrance(relay.url, relay.operator.minter.token()), "kota/taman", RTCCertificate.generateCertificate()
    )
    await other.join(http, lambda now, _: packets.append(now))
    async with browsing(host, tmp_path) as browser:
        await browser.watch(http, relay, "taman")
        await browser.plays(100)
        assert (await browser.pair())["remote"]["protocol"] == "udp"
    before = len(packets)
    await eventually(lambda: len(packets) > before + 50, "the other viewer goes on", seconds=10)
    async with http.get(f"{relay.url}/metrics", headers=relay.bearer(scope="metrics")) as response:
        text = await response.text()
    assert "pancar_gso 1.0" in text
    await other.leave(http)
