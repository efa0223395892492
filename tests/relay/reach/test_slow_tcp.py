"""One viewer's connection takes nothing for a while: he gets what is live afterwards, and nobody else notices."""

import asyncio
import re
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from aiortc.rtcdtlstransport import RTCCertificate
from pancar_cli.bench.viewer import LightViewer
from pancar_cli.bench.viewer import Relay as Entrance
from pancar_proto.v1 import control_pb2 as pb
from rigs.benchcamera import bench_camera
from rigs.bridge import BridgedViewer
from rigs.relay import Relay, StartRelay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
# No more than this test's own loop can serve on a busy machine: who is to lose nothing reads in it too.
STUCK = 3


class DatagramViewer(LightViewer):
    def buffer(self, size: int) -> None:
        """Has its socket hold so many bytes that the test is slow to take."""
        assert self._ice.transport is not None
        self._ice.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class Received:
    """What a viewer's wire has brought."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.timestamps: list[int] = []

    def __call__(self, _: float, packet: bytes) -> None:
        self.sequences.append(int.from_bytes(packet[2:4], "big"))
        timestamp = int.from_bytes(packet[4:8], "big")
        if not self.timestamps or self.timestamps[-1] != timestamp:
            self.timestamps.append(timestamp)

    def gaps(self, of: list[int], step: int, bits: int) -> list[int]:
        return [(b - a) % (1 << bits) for a, b in pairwise(of) if (b - a) % (1 << bits) > step]

    @property
    def lost(self) -> list[int]:
        return self.gaps(self.sequences, 1, 16)

    @property
    def skipped(self) -> list[int]:
        # 25 frames a second by a clock of 90 kHz; the camera's encoder leaves out one or two itself.
        return self.gaps(self.timestamps, 3 * 3600, 32)


@pytest.fixture
def large_camera() -> Iterator[str]:
    """4 Mbit/s at 25 frames a second, a key frame each second."""
    with bench_camera("--gop=1", "--bit-rate=4000000") as url:
        yield url


def resident_kib(relay: Relay) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{relay.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


async def dropped(http: aiohttp.ClientSession, relay: Relay) -> float:
    async with http.get(f"{relay.url}/metrics", headers=relay.bearer(scope="metrics")) as response:
        found = re.search(r'pancar_camera_frames_dropped_total\{[^}]*reason="Late"} (\S+)', await response.text())
    assert found is not None
    return float(found[1])


async def test_a_stuck_reader_costs_bounded_memory_and_nobody_else_a_frame(
    start_relay: StartRelay, large_camera: str, http: aiohttp.ClientSession
) -> None:
    # Memory in pages of 4 KiB: one huge page more for the allocator's heap is more than the test allows for.
    relay = await start_relay(MIMALLOC_ALLOW_THP="0")
    await relay.operator.desire(assignment("taman", large_camera))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    entrance = Entrance(relay.url, relay.operator.minter.token())
    certificate = RTCCertificate.generateCertificate()
    stuck = [BridgedViewer(entrance, "kota/taman", certificate) for _ in range(STUCK)]
    slow, quick = Received(), Received()
    for number, viewer in enumerate(stuck):
        await viewer.join(http, slow if number == 0 else None)
    udp = DatagramViewer(entrance, "kota/taman", certificate)
    await udp.join(http, quick)
    udp.buffer(4 << 20)
    await eventually(lambda: len(slow.timestamps) > 25 and len(quick.timestamps) > 25, "both watch", seconds=60)
    assert await dropped(http, relay) == 0
    assert slow.lost == []

    # What the burst brought at once may have been too much for the test's own socket.
    quick.sequences.clear()
    quick.timestamps.clear()
    before = resident_kib(relay)
    for viewer in stuck:
        viewer.bridge.stall()
    await asyncio.sleep(5.0)
    full = resident_kib(relay)
    await asyncio.sleep(5.0)
    assert await dropped(http, relay) > STUCK * 100
    # Two key frames of each wait in the relay, and the stream's own cache has filled; 5 MB of each were left out.
    assert full - before < STUCK * 1024 + 2048
    assert resident_kib(relay) - full < 1024
    assert len(quick.timestamps) > 150

    for viewer in stuck:
        viewer.bridge.resume()
    at = len(slow.timestamps)
    await eventually(lambda: len(slow.timestamps) > at + 100, "the picture goes on")
    # What he was not sent has no numbers: to him the stream is whole.
    assert slow.lost == []
    [gap] = slow.skipped
    assert 5 < gap / 90_000 < 15
    assert (quick.lost, quick.skipped) == ([], [])
    for each in (*stuck, udp):
        await each.leave(http)
    assert stuck[0].bridge.ended
