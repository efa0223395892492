"""A camera goes on sending because it is told in time that somebody is there, in the way that it asks for."""

import asyncio
import time

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


@pytest.mark.parametrize("transport", ["TCP", "UDP"])
async def test_keepalives_and_reports_come_in_time(transport: str, up: Runs) -> None:
    async with (
        Replay("plain", Manners(session_seconds=4, lives_by="keepalive")) as asks,
        Replay("plain", Manners(session_seconds=7, lives_by="report")) as reads,
        up(over(transport, "asks", asks.url), over(transport, "reads", reads.url)) as run,
    ):
        await run.until("asks", "Live")
        await run.until("reads", "Live")
        await asyncio.sleep(15)
        async with Viewer(run, "asks") as viewer, Viewer(run, "reads") as other:
            await viewer.watch(15)
            await other.watch(15)
        for source in (asks, reads):
            assert source.requests.count("DESCRIBE") == 1, "it was pulled once, without a break"
        kept = [request for request in asks.requests if request in ("OPTIONS", "GET_PARAMETER")]
        assert asks.described is not None
        most = (time.monotonic() - asks.described) / 2 + 1
        assert 6 <= len(kept) <= most, "half the timeout that the camera told"
        assert {report.ssrc for report in reads.reports} == {0x50414E43}
        assert all(report.fraction_lost == 0 for report in reads.reports)
        highest = [report.highest for report in reads.reports]
        assert highest == sorted(set(highest))
        assert highest[-1] > 1 << 16, "numbers wrapped in the meantime"


async def test_a_server_that_times_sessions_out_keeps_ours(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=3, transports=("udp",), session_timeout=5)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        await asyncio.sleep(14)
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(15)
    assert source.stats().sessions_total == 1
