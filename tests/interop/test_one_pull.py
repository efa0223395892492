"""However many watch, and however they come and go, the camera counts one session."""

import asyncio
import time
from typing import Any

from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs, Up
from rigs.viewer import Viewer

SMALL: dict[str, Any] = {"width": 160, "height": 120, "fps": 10, "gop": 20, "kbps": 150}


async def test_twenty_viewers_share_one_session(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=3, **SMALL)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        viewers = [Viewer(run, "gate") for _ in range(20)]
        await asyncio.gather(*(viewer.join() for viewer in viewers))
        await asyncio.gather(*(viewer.watch(20, seconds=30) for viewer in viewers))
        counted = source.stats()
        await asyncio.gather(*(viewer.leave() for viewer in viewers))
        assert (counted.sessions, counted.sessions_most, counted.sessions_total) == (1, 1, 1)
        assert counted.connections == 1


async def test_hundred_joins_and_leaves_twelve_a_second(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=3, **SMALL)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        started = time.monotonic()
        # On a machine that is slower than they come they make no crowd, which the relay would ask to come again.
        gate = asyncio.Semaphore(16)
        async with Viewer(run, "gate") as steady:
            await asyncio.gather(*(_comes_and_goes(run, started + n / 12, gate) for n in range(100)))
            await steady.watch(10)
        counted = source.stats()
        assert (counted.sessions, counted.sessions_most, counted.sessions_total) == (1, 1, 1)
        assert counted.connections == 1


async def _comes_and_goes(run: Up, at: float, gate: asyncio.Semaphore) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    async with gate, Viewer(run, "gate"):
        await asyncio.sleep(0.2)
