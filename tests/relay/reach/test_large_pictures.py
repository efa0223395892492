"""Pictures larger than what may go out at once: the rest follows as the pace allows, whatever else the relay does."""

import statistics
from collections.abc import Iterator

import aiohttp
import pytest
from aiortc.rtcdtlstransport import RTCCertificate
from pancar_cli.bench.viewer import LightViewer
from pancar_cli.bench.viewer import Relay as Entrance
from pancar_proto.v1 import control_pb2 as pb
from rigs.benchcamera import bench_camera
from rigs.relay import StartRelay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Of 1,200 bytes; a burst is 64 kB.
SEVERAL_BURSTS = 150


@pytest.fixture
def unhurried_camera() -> Iterator[str]:
    """Three pictures a second, each of them several bursts: at other moments each than the relay's own regular ones."""
    with bench_camera("--fps=3", "--gop=1", "--bit-rate=8000000") as url:
        yield url


async def test_what_waits_does_not_wait_for_the_next_picture(
    start_relay: StartRelay, unhurried_camera: str, http: aiohttp.ClientSession
) -> None:
    relay = await start_relay()
    await relay.operator.desire(assignment("taman", unhurried_camera))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    frames: dict[bytes, list[float]] = {}
    viewer = LightViewer(
        Entrance(relay.url, relay.operator.minter.token()), "kota/taman", RTCCertificate.generateCertificate()
    )
    await viewer.join(http, lambda now, packet: frames.setdefault(packet[4:8], []).append(now))

    def spans() -> list[float]:
        # The start is sent as one, and the newest may not be whole.
        watched = list(frames.values())[3:-1]
        return [arrivals[-1] - arrivals[0] for arrivals in watched if len(arrivals) > SEVERAL_BURSTS]

    await eventually(lambda: len(spans()) >= 12, "twelve pictures came", seconds=30)
    # At 64 Mbit/s they take 40 ms; the relay looks after everything every 250 ms.
    *_, upper_quartile = statistics.quantiles(spans(), n=4)
    assert upper_quartile < 0.12
    await viewer.leave(http)
