"""`soak`: many cameras on one relay for long, nobody watching: whether memory grows, and whether all stay live."""

from __future__ import annotations

import asyncio
import statistics
import time

import aiohttp

from pancar_cli.bench.figures import BenchError, Figure
from pancar_cli.bench.rig import Cameras, Rig, rig

# Until rings are full and allocators have found their size.
_SETTLE_S = 60.0
_SAMPLE_S = 5.0


async def soak(cameras: int, seconds: float) -> list[Figure]:
    """Measures for `seconds`, after a minute. Raises BenchError where a camera is not live at the end, or was not for a
    moment."""
    async with rig(Cameras(count=cameras)) as ready:
        await asyncio.sleep(_SETTLE_S)
        since, cpu = time.monotonic(), ready.process.cpu()
        at: list[float] = []
        rss: list[float] = []
        while not at or at[-1] < seconds:
            at.append(time.monotonic() - since)
            rss.append(ready.process.rss() / 1024)
            await asyncio.sleep(_SAMPLE_S)
        elapsed = time.monotonic() - since
        cpu = ready.process.cpu() - cpu
        faults = await _faults(ready)
    if faults:
        raise BenchError(f"cameras went offline {faults} times")
    conditions: dict[str, float | int | str] = {"cameras": cameras, "mbit_s": 2, "fps": 25, "seconds": round(elapsed)}
    slope, _ = statistics.linear_regression(at, rss)
    return [
        Figure("ingest.cpu_ms_per_camera_s", cpu / elapsed / cameras * 1e3, "ms", conditions),
        Figure("ingest.rss_mib", rss[-1] / 1024, "MiB", conditions),
        Figure("ingest.rss_growth_kib_per_minute", slope * 60, "KiB", conditions),
    ]


async def _faults(ready: Rig) -> int:
    """How often a camera was lost, by the relay's metrics."""
    headers = {"Authorization": f"Bearer {ready.relay.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{ready.relay.base_url}/metrics") as response,
    ):
        text = await response.text()
        if response.status != 200:
            raise BenchError(f"the relay's metrics: {response.status} {text}")
    lines = [line for line in text.splitlines() if line.startswith("pancar_camera_faults_total{")]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))
