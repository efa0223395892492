"""`ingest`: CPU and memory that a camera costs the relay while nobody watches, and CPU with one viewer each.

The floor is retina alone, which pulls the same cameras and drops what comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate

from pancar_cli.bench.fanout import join_all
from pancar_cli.bench.figures import Figure
from pancar_cli.bench.rig import Cameras, Rig, engine_floor, rig
from pancar_cli.bench.viewer import LightViewer

_SETTLE_S = 3.0
# The others need no longer, however long growth is looked for.
_OTHERS_S = 30.0
# Over less than that caches that fill look like growth.
_GROWTH_S = 60.0


async def ingest(counts: Sequence[int], seconds: float) -> list[Figure]:
    """Measures each number of cameras, each with a relay of its own. Raises BenchError."""
    figures = []
    smallest: tuple[int, int] | None = None
    for count in counts:
        async with rig(Cameras(count=count)) as ready:
            await asyncio.sleep(_SETTLE_S)
            rss_before = ready.process.rss()
            cpu = await _cpu(ready, seconds)
            rss = ready.process.rss()
            watched = await _watched(ready, min(seconds, _OTHERS_S))
            _, floor, elapsed = await engine_floor("run_ingest_floor", ready.urls(), min(seconds, _OTHERS_S))
        conditions: dict[str, float | int | str] = {"cameras": count, "mbit_s": 2, "fps": 25, "seconds": seconds}
        each_floor = floor / elapsed / count * 1e3
        figures.append(Figure("ingest.cpu_ms_per_camera_s", cpu / count * 1e3, "ms", conditions, each_floor))
        figures.append(Figure("ingest.watched_cpu_ms_per_camera_s", watched / count * 1e3, "ms", conditions))
        if seconds >= _GROWTH_S:
            figures.append(Figure("ingest.rss_growth_kib", (rss - rss_before) / 1024, "KiB", conditions))
        if smallest is None:
            smallest = (count, rss)
        elif count > smallest[0]:
            each = (rss - smallest[1]) / (count - smallest[0]) / 1024
            figures.append(Figure("ingest.rss_kib_per_camera", each, "KiB", conditions))
    return figures


async def _cpu(ready: Rig, seconds: float) -> float:
    """Of the relay, in seconds for each."""
    before = ready.process.cpu()
    await asyncio.sleep(seconds)
    return (ready.process.cpu() - before) / seconds


async def _watched(ready: Rig, seconds: float) -> float:
    """The same with one viewer of each camera, who drops what comes. Raises JoinError."""
    certificate = RTCCertificate.generateCertificate()
    viewers = [LightViewer(ready.relay, ready.camera(index), certificate) for index in range(ready.cameras.count)]
    async with aiohttp.ClientSession() as http:
        try:
            await join_all(http, viewers)
            for viewer in viewers:
                viewer.deafen()
            await asyncio.sleep(_SETTLE_S)
            return await _cpu(ready, seconds)
        finally:
            await asyncio.gather(*(viewer.leave(http) for viewer in viewers))
