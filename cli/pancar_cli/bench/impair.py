"""`impair`: how much of the time pictures stand still for viewers on bad networks.

Each viewer is a receiver as a browser has it, at the far end of a wire of its own that loses packets both ways. All
watch the same relay for the same time. Then one of them is cut off from all that he is sent, while others watch on a
good network: how soon these have each frame, with and without him.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate

from pancar_cli.bench.fanout import join_all
from pancar_cli.bench.figures import BenchError, Figure
from pancar_cli.bench.receiver.receiver import Receiver
from pancar_cli.bench.rig import Cameras, Rig, rig
from pancar_cli.bench.spread import Audience
from pancar_cli.bench.viewer import LightViewer, open_socket
from pancar_cli.bench.watching import watching
from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire, WireError

ROUND_TRIP_S = 0.06
CASES = (Impairment(loss=0.02), Impairment(loss=0.1), Impairment(loss=0.05, burst=20))
# The start burst is over, and what the receiver averages over is full.
_SETTLE_S = 3.0
_OTHERS = 20


@dataclass(frozen=True, slots=True)
class _Watched:
    """One viewer's time on one wire."""

    receiver: Receiver
    seconds: float


async def impair(seconds: float, cases: Sequence[Impairment] = CASES) -> list[Figure]:
    """Measures each case. Raises BenchError."""
    with contextlib.ExitStack() as stack:
        try:
            wires = [stack.enter_context(Wire(seed)) for seed, _ in enumerate(cases)]
        except WireError as error:
            raise BenchError(str(error)) from error
        # Any end of any wire reaches the relay at the first one's address, by its own wire.
        async with rig(Cameras(), media=wires[0].near) as ready, aiohttp.ClientSession() as http:
            watched = await asyncio.gather(
                *(_watch(http, ready, wire, case, seconds) for wire, case in zip(wires, cases, strict=True))
            )
            beside = await _beside_a_deaf_one(http, ready, wires[0], seconds / 4)
    figures = [each for case, one in zip(cases, watched, strict=True) for each in _figures(case, one, ready.cameras)]
    return figures + beside


def _figures(case: Impairment, watched: _Watched, cameras: Cameras) -> list[Figure]:
    counts, freezes = watched.receiver.counts, watched.receiver.freezes
    conditions: dict[str, float | int | str] = {
        "loss": case.loss,
        "burst": case.burst,
        "rtt_ms": ROUND_TRIP_S * 1e3,
        "rtx": int(watched.receiver.formats.rtx_payload_type is not None),
        "seconds": round(watched.seconds, 1),
        "mbit_s": cameras.bit_rate / 1e6,
        "fps": cameras.fps,
        "gop_s": cameras.gop_s,
        "freezes": freezes.count,
        "recovered": counts.recovered,
        "keys_asked": counts.keys_asked,
    }
    return [
        Figure("impair.frozen_ratio", freezes.seconds / watched.seconds, "", conditions),
        Figure("impair.longest_ms", freezes.longest * 1e3, "ms", conditions),
    ]


async def _beside_a_deaf_one(http: aiohttp.ClientSession, ready: Rig, wire: Wire, seconds: float) -> list[Figure]:
    """What others get before one viewer hears nothing any more, and then."""
    certificate = RTCCertificate.generateCertificate()
    await asyncio.to_thread(wire.both, Impairment(delay=ROUND_TRIP_S / 2))
    others = [LightViewer(ready.relay, ready.camera(), certificate, open_socket(wire.near)) for _ in range(_OTHERS)]
    deaf = LightViewer(ready.relay, ready.camera(), certificate, wire.socket())
    try:
        await join_all(http, others)
        audience = Audience(ready, others)
        without = await audience.measure(seconds)
        await deaf.join(http)
        await asyncio.to_thread(wire.change, to_far=Impairment(loss=1.0))
        await asyncio.sleep(_SETTLE_S)
        beside = await audience.measure(seconds)
    finally:
        await asyncio.gather(*(viewer.leave(http) for viewer in (*others, deaf)))
    figures = []
    for count, spreads in ((0, without), (1, beside)):
        conditions: dict[str, float | int | str] = {"viewers": _OTHERS, "deaf": count, "seconds": seconds}
        figures.append(Figure("impair.spread_ms", spreads.p95(), "ms", {**conditions, "percentile": 95}))
        figures.append(Figure("impair.late_frames", spreads.late, "", {**conditions, "expected": spreads.expected}))
    return figures


async def _watch(http: aiohttp.ClientSession, ready: Rig, wire: Wire, case: Impairment, seconds: float) -> _Watched:
    """The wire is good while he joins. Raises BenchError."""
    good = Impairment(delay=ROUND_TRIP_S / 2)
    await asyncio.to_thread(wire.both, good)
    async with watching(http, ready.relay, ready.camera(), wire.socket()) as receiver:
        await asyncio.sleep(_SETTLE_S)
        await asyncio.to_thread(wire.both, replace(case, delay=good.delay))
        receiver.count_anew()
        began = time.monotonic()
        await asyncio.sleep(seconds)
        ended = time.monotonic()
        receiver.freezes.ended(ended)
    await asyncio.to_thread(_require_idle, wire)
    return _Watched(receiver, ended - began)


def _require_idle(wire: Wire) -> None:
    """Raises BenchError where the machine had no time for the wire, which then lost what it should not."""
    overrun = sum(counts.overrun for counts in wire.counts())
    if overrun:
        raise BenchError(f"this machine is too busy: {overrun} packets were lost that should not have been")
