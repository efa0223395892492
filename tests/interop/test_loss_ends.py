"""A viewer to whom nothing came for seconds, and who knows it, plays again soon after that ends."""

import asyncio

from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

FAR = Impairment(delay=0.03)


async def test_chromium_plays_again(cameras: Cameras, up: Runs, wire: Wire, far_screen: Screen) -> None:
    source = cameras(number=22, gop=30)
    wire.both(FAR)
    async with up(camera("gate", source), listen=wire.near) as run:
        await run.until("gate", "Live")
        await far_screen.enter(run.link)
        tile = far_screen.tile("gate")
        await tile.until("live", seconds=30)
        before = await tile.moves()
        # What he sends still comes through.
        wire.change(to_far=Impairment(delay=0.03, loss=1.0))
        await asyncio.sleep(4)
        assert await tile.state() != "live"
        wire.change(to_far=FAR)
        await tile.shows_later_than(before.frame + 4 * source.settings.fps, seconds=20)
        await tile.moves()
