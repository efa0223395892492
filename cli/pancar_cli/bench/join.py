"""`join`: CPU that one viewer's coming and going costs the relay, SDP, ICE, DTLS, start burst and DELETE included."""

from __future__ import annotations

import asyncio
import time

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate

from pancar_cli.bench.figures import Figure
from pancar_cli.bench.rig import Cameras, rig
from pancar_cli.bench.viewer import LightViewer

_IDLE_S = 5.0
_WARM_UP = 20


async def join(joins: int) -> list[Figure]:
    """Measures `joins` viewers, one after the other; what the relay takes at rest is subtracted. Raises BenchError."""
    certificate = RTCCertificate.generateCertificate()
    async with rig(Cameras()) as ready, aiohttp.ClientSession() as http:

        async def come_and_go() -> None:
            viewer = LightViewer(ready.relay, ready.camera(), certificate)
            await viewer.join(http)
            await viewer.leave(http)

        for _ in range(_WARM_UP):
            await come_and_go()
        cpu = ready.process.cpu()
        await asyncio.sleep(_IDLE_S)
        at_rest = (ready.process.cpu() - cpu) / _IDLE_S
        cpu, since = ready.process.cpu(), time.monotonic()
        for _ in range(joins):
            await come_and_go()
        cpu = ready.process.cpu() - cpu - at_rest * (time.monotonic() - since)
    return [Figure("join.cpu_ms", cpu / joins * 1e3, "ms", {"joins": joins, "gop_s": 2.0})]
