"""`fanout`: CPU of the whole relay for each packet that each viewer is sent, beside the floor of the same run; how long
until the last viewer has a frame; and memory.

The viewers complete the real handshake, then leave what follows to the kernel, which first keeps each frame's last
packet with its time, then drops all. The floor sends packets of the same sizes at the same pace to the same sockets.
"""

from __future__ import annotations

import asyncio
import statistics
import struct
import time
from collections.abc import Sequence

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate

from pancar_cli.bench.figures import BenchError, Figure
from pancar_cli.bench.rig import Cameras, Rig, engine_floor, rig
from pancar_cli.bench.spread import Audience, Spreads
from pancar_cli.bench.viewer import LightViewer

_SETTLE_S = 2.0
_SAMPLE_S = 4.0
_SPREAD_S = 6.0
# With many viewers looking takes as long as a GOP, and may miss each key frame for a while.
_KEY_S = 30.0
_JOINS_AT_ONCE = 8
_TURNS_AT_LEAST = 3
# What an encoder's GOPs differ by.
_UNEVEN = 0.02
SENT = "pancar_camera_packets_sent_total"
_DROPPED = "pancar_packets_dropped_total"


class _Sizes:
    """Datagram sizes, frame by frame, as one viewer receives them."""

    def __init__(self) -> None:
        self.frames: list[list[int]] = []
        self._timestamp: int | None = None

    def __call__(self, _now: float, packet: bytes) -> None:
        timestamp = struct.unpack_from("!I", packet, 4)[0]
        if timestamp != self._timestamp:
            self._timestamp = timestamp
            self.frames.append([])
        self.frames[-1].append(len(packet))


async def fanout(viewers: Sequence[int], seconds: float) -> list[Figure]:
    """Measures each number of viewers, with a relay of its own and one camera. Raises BenchError."""
    figures = []
    for count in viewers:
        async with rig(Cameras()) as ready:
            figures += await _measure(ready, count, seconds)
    return figures


async def _measure(ready: Rig, count: int, seconds: float) -> list[Figure]:
    certificate = RTCCertificate.generateCertificate()
    audience = [LightViewer(ready.relay, ready.camera(), certificate) for _ in range(count)]
    sizes = _Sizes()
    async with aiohttp.ClientSession() as http:
        try:
            before = ready.process.rss()
            await join_all(http, audience[1:])
            await audience[0].join(http, sizes)
            await asyncio.sleep(_SAMPLE_S)
            spreads = await Audience(ready, audience).measure(_SPREAD_S, for_key=_KEY_S)
            for viewer in audience:
                viewer.deafen()
            await asyncio.sleep(_SETTLE_S)
            per_viewer = (ready.process.rss() - before) / count
            frames = _steady(sizes.frames, ready.cameras)
            turns = max(_TURNS_AT_LEAST, round(seconds / ready.cameras.gop_s))
            each, floor_each = await _by_turns(http, ready, audience, frames, turns)
            dropped = await metric(http, ready, _DROPPED)
        finally:
            await asyncio.gather(*(viewer.leave(http) for viewer in audience))
    conditions: dict[str, float | int | str] = {
        "viewers": count,
        "mbit_s": ready.cameras.bit_rate / 1e6,
        "fps": ready.cameras.fps,
        "seconds": turns * ready.cameras.gop_s,
    }
    return [
        Figure("fanout.cpu_us_per_packet", each * 1e6, "µs", conditions, floor_each * 1e6),
        Figure("viewer.rss_kib", per_viewer / 1024, "KiB", conditions),
        Figure("fanout.dropped_packets", dropped, "", conditions),
        *_spread_figures(spreads, conditions),
    ]


async def _by_turns(
    http: aiohttp.ClientSession,
    ready: Rig,
    audience: Sequence[LightViewer],
    frames: list[list[int]],
    turns: int,
) -> tuple[float, float]:
    """CPU seconds of a packet, the relay's and the floor's: of each the median of its turns, which are a GOP long. A
    shared machine is now faster and now slower, for both alike, and sometimes stops for a while, which is neither's."""
    targets = [viewer.address for viewer in audience]
    turn = ready.cameras.gop_s
    # A turn is not cut at its GOP's edge, by which counters are off; one GOP is about as long as another.
    pace = len(audience) * sum(map(len, frames)) / turn
    key_frame = len(audience) * max(map(len, frames))
    each, floor_each = [], []
    began, sent = time.monotonic(), await metric(http, ready, SENT)
    for _ in range(turns):
        since, cpu = time.monotonic(), ready.process.cpu()
        await asyncio.sleep(turn)
        cpu = ready.process.cpu() - cpu
        each.append(cpu / (time.monotonic() - since) / pace)
        packets, used, _ = await engine_floor("run_floor", targets, frames, ready.cameras.fps, turn)
        floor_each.append(used / packets)
    sent = await metric(http, ready, SENT) - sent
    due = pace * (time.monotonic() - began)
    if abs(sent - due) > key_frame + due * _UNEVEN:
        raise BenchError(f"the relay sent {sent:.0f} packets, where the camera's pictures are {due:.0f}")
    return statistics.median(each), statistics.median(floor_each)


def _spread_figures(spreads: Spreads, conditions: dict[str, float | int | str]) -> list[Figure]:
    shared = {**conditions, "seconds": _SPREAD_S}
    return [
        Figure("fanout.spread_ms", spreads.p95(), "ms", {**shared, "frames": "ordinary", "percentile": 95}),
        Figure("fanout.spread_ms", spreads.worst_key(), "ms", {**shared, "frames": "key", "percentile": 100}),
        Figure("fanout.late_frames", spreads.late, "", {**shared, "expected": spreads.expected}),
    ]


def _steady(frames: list[list[int]], cameras: Cameras) -> list[list[int]]:
    """Whole GOPs out of a sample; the burst at its start and the cut frame at its end left out."""
    gop = max(1, round(cameras.fps * cameras.gop_s))
    steady = frames[-gop - 1 : -1]
    if len(steady) < gop:
        raise BenchError(f"saw {len(frames)} frames, a GOP has {gop}")
    return steady


async def join_all(http: aiohttp.ClientSession, viewers: Sequence[LightViewer]) -> None:
    """Joins them, a few at a time. What they get is left to the kernel from then on."""
    gate = asyncio.Semaphore(_JOINS_AT_ONCE)

    async def join(viewer: LightViewer) -> None:
        async with gate:
            await viewer.join(http)
            viewer.hold()

    await asyncio.gather(*(join(viewer) for viewer in viewers))


async def metric(http: aiohttp.ClientSession, ready: Rig, name: str) -> int:
    """A counter of the relay's, all cameras together."""
    headers = {"Authorization": f"Bearer {ready.relay.token}"}
    async with http.get(f"{ready.relay.base_url}/metrics", headers=headers) as response:
        text = await response.text()
        if response.status != 200:
            raise BenchError(f"the relay's metrics: {response.status} {text}")
    lines = [line.split() for line in text.splitlines() if line.startswith(name)]
    if not lines:
        raise BenchError(f"the relay has no metric {name}")
    return sum(int(float(words[-1])) for words in lines)
