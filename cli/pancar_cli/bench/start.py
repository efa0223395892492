"""`start`: from the viewer's POST to his first decodable frame, and to the live edge, at several GOP lengths."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import pylibsrtp
from aiortc.rtcdtlstransport import RTCCertificate

from pancar_cli.bench.figures import BenchError, Figure, percentile
from pancar_cli.bench.rig import Cameras, Rig, rig
from pancar_cli.bench.viewer import LightViewer

_WATCH_S = 1.2
_HEADER = 12


@dataclass(frozen=True, slots=True)
class _Packet:
    at: float
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes


def _parse(at: float, plain: bytes) -> _Packet:
    sequence, timestamp = struct.unpack_from("!HI", plain, 2)
    header = _HEADER
    if plain[0] & 0x10:
        header += 4 + 4 * struct.unpack_from("!H", plain, _HEADER + 2)[0]
    return _Packet(at, sequence, timestamp, bool(plain[1] & 0x80), plain[header:])


class _Reference:
    """A viewer who watches all the time: when each frame was at the live edge, by the end of its last packet."""

    def __init__(self, viewer: LightViewer) -> None:
        self._viewer = viewer
        self.seen: dict[bytes, float] = {}

    def __call__(self, now: float, packet: bytes) -> None:
        if packet[1] & 0x80:
            try:
                self.seen[_parse(now, self._viewer.unprotect(packet)).payload] = now
            except (pylibsrtp.Error, AttributeError):
                # Before the handshake's end there are no keys; the frames until then are not compared with.
                return


async def start(gops_s: Sequence[float], joins: int) -> list[Figure]:
    """Measures `joins` joins at random moments of each GOP length. Raises BenchError."""
    figures = []
    for gop_s in gops_s:
        async with rig(Cameras(gop_s=gop_s)) as ready:
            figures += await _measure(ready, joins)
    return figures


async def _measure(ready: Rig, joins: int) -> list[Figure]:
    certificate = RTCCertificate.generateCertificate()
    gop_s, fps = ready.cameras.gop_s, ready.cameras.fps
    watcher = LightViewer(ready.relay, ready.camera(), certificate)
    reference = _Reference(watcher)
    first_frames, live_edges = [], []
    async with aiohttp.ClientSession() as http:
        await watcher.join(http, reference)
        await asyncio.sleep(gop_s + 1.0)
        for _ in range(joins):
            await asyncio.sleep(random.uniform(0, min(gop_s, 1.0)))  # noqa: S311 - a moment, no secret
            first_frame, live_edge = await _join(http, ready, certificate, reference, 1.5 / fps)
            first_frames.append(first_frame * 1e3)
            live_edges.append(live_edge * 1e3)
        await watcher.leave(http)
    conditions: dict[str, float | int | str] = {"gop_s": gop_s, "fps": fps, "joins": joins, "mbit_s": 2}
    return [
        Figure("start.first_frame_ms_p50", percentile(first_frames, 50), "ms", conditions),
        Figure("start.first_frame_ms_p95", percentile(first_frames, 95), "ms", conditions),
        Figure("start.live_edge_ms_p95", percentile(live_edges, 95), "ms", conditions),
    ]


async def _join(
    http: aiohttp.ClientSession, ready: Rig, certificate: RTCCertificate, reference: _Reference, tolerance: float
) -> tuple[float, float]:
    """Seconds from POST to the first whole frame, and to the first frame as fresh as the reference's."""
    arrived: list[tuple[float, bytes]] = []
    viewer = LightViewer(ready.relay, ready.camera(), certificate)
    await viewer.join(http, lambda now, packet: arrived.append((now, packet)))
    await asyncio.sleep(_WATCH_S)
    packets = [_parse(at, viewer.unprotect(packet)) for at, packet in arrived]
    await viewer.leave(http)
    first = _first_frame(packets)
    # What came before the keys could not be decoded yet.
    first_frame = max(first, viewer.connected) - viewer.posted
    for packet in packets:
        shown = reference.seen.get(packet.payload) if packet.marker else None
        if shown is not None and packet.at - shown <= tolerance:
            return first_frame, max(packet.at, viewer.connected) - viewer.posted
    raise BenchError(f"no frame at the live edge within {_WATCH_S} s")


def _first_frame(packets: list[_Packet]) -> float:
    """When the last packet of the first frame came; every packet of it must be there."""
    if not packets:
        raise BenchError("the relay sent nothing")
    expected = packets[0].sequence
    for packet in packets:
        if packet.timestamp != packets[0].timestamp or packet.sequence != expected:
            raise BenchError("packets of the first frame are missing")
        if packet.marker:
            return packet.at
        expected = (expected + 1) % 65536
    raise BenchError("the first frame did not end")
