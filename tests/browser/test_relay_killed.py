"""kill -9 of the relay: `pancar up` starts another, and the wall is live again within seconds, without a reload."""

import time

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually


async def test_wall_is_live_again_within_seconds(cameras: Cameras, up: Runs, screen: Screen) -> None:
    sources = {f"camera-{number}": cameras(number=number) for number in (31, 32)}
    async with up(*(camera(name, source) for name, source in sources.items())) as run:
        await screen.enter(run.link)
        tiles = [screen.tile(name) for name in sources]
        for tile in tiles:
            await tile.until("live")
        await screen.page.evaluate("window.notReloaded = true")
        await run.stands_by()
        (killed,) = run.relays()
        run.kill_relay()
        started = time.monotonic()
        await eventually(lambda: [pid for pid in run.relays() if pid != killed], "another relay runs", seconds=10)
        for tile, source in zip(tiles, sources.values(), strict=True):
            await tile.shows_later_than(source.stats().frames, seconds=10)
        assert time.monotonic() - started < 10
        assert await screen.page.evaluate("window.notReloaded")
        await screen.shot("relay-killed-and-back")
