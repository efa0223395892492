"""`ingest`: CPU and memory that a camera costs the relay while nobody watches.

The floor is retina alone, which pulls the same cameras and drops what comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pancar_cli.bench.figures import Figure
from pancar_cli.bench.rig import Cameras, engine_floor, rig

_SETTLE_S = 3.0
# The floor needs no longer, however long growth is looked for.
_FLOOR_S = 30.0
# Over less than that caches that fill look like growth.
_GROWTH_S = 60.0


async def ingest(counts: Sequence[int], seconds: float) -> list[Figure]:
    """Measures each number of cameras, each with a relay of its own. Raises BenchError."""
    figures = []
    smallest: tuple[int, int] | None = None
    for count in counts:
        async with rig(Cameras(count=count)) as ready:
            await asyncio.sleep(_SETTLE_S)
            cpu, rss_before = ready.process.cpu(), ready.process.rss()
            await asyncio.sleep(seconds)
            cpu = ready.process.cpu() - cpu
            rss = ready.process.rss()
            _, floor, elapsed = await engine_floor("run_ingest_floor", ready.urls(), min(seconds, _FLOOR_S))
        conditions: dict[str, float | int | str] = {"cameras": count, "mbit_s": 2, "fps": 25, "seconds": seconds}
        each_floor = floor / elapsed / count * 1e3
        figures.append(Figure("ingest.cpu_ms_per_camera_s", cpu / seconds / count * 1e3, "ms", conditions, each_floor))
        if seconds >= _GROWTH_S:
            figures.append(Figure("ingest.rss_growth_kib", (rss - rss_before) / 1024, "KiB", conditions))
        if smallest is None:
            smallest = (count, rss)
        elif count > smallest[0]:
            each = (rss - smallest[1]) / (count - smallest[0]) / 1024
            figures.append(Figure("ingest.rss_kib_per_camera", each, "KiB", conditions))
    return figures
