"""Chromium, 60 ms away on a network that loses 2 % of all packets either way, plays on."""

import asyncio

from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

FAR = Impairment(delay=0.03)
LOSSY = Impairment(delay=0.03, loss=0.02)


async def test_chromium_plays_on(cameras: Cameras, up: Runs, wire: Wire, far_screen: Screen) -> None:
    # A GOP of ten seconds: what is not sent again spoils more than half of what is watched.
    source = cameras(number=21, width=640, height=360, gop=150, kbps=1500)
    wire.both(FAR)
    async with up(camera("gate", source), listen=wire.near) as run:
        await run.until("gate", "Live")
        await far_screen.enter(run.link)
        tile = far_screen.tile("gate")
        await tile.until("live", seconds=30)
        wire.both(LOSSY)
        painted, decoded = source.stats().frames, await tile.decoded()
        await asyncio.sleep(6)
        painted, decoded = source.stats().frames - painted, await tile.decoded() - decoded
        assert await tile.state() == "live"
        assert decoded > 0.8 * painted
        to_browser, from_browser = wire.counts()
        assert to_browser.lost >= 10
        # Wire packets, though the relay hands the kernel forty of them at once.
        assert max(to_browser.largest, from_browser.largest) <= 1500
        assert (to_browser.overrun, from_browser.overrun) == (0, 0)
