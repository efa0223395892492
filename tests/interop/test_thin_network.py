"""Chromium behind a link that carries the sub and not the main stream: it is sent the sub, and the main stream again
once the link carries it."""

import asyncio

from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from pancar_relay.viewer.layers import FIRST_REST
from rigs.camera import Cameras
from rigs.chromium import Screen, Tile
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually

MAIN, SUB = 31, 32
WIDE = Impairment(delay=0.02)
# Bits a second: between what the two streams take.
THIN = Impairment(delay=0.02, rate=800_000, queue=100_000)


async def shows(tile: Tile, number: int, *, seconds: float) -> None:
    async def shown() -> bool:
        seen = await tile.seen()
        return seen is not None and seen.camera == number

    await eventually(shown, f"stream {number} is on the tile", seconds=seconds)


async def test_the_network_decides_between_main_and_sub(
    cameras: Cameras, up: Runs, wire: Wire, far_screen: Screen
) -> None:
    # The tile, which is as large as the screen, wants the main stream.
    main = cameras(number=MAIN, width=640, height=480, fps=15, gop=30, kbps=2000)
    sub = cameras(number=SUB, gop=30, kbps=150)
    wire.both(WIDE)
    async with up(camera("gate", main, sub=sub), listen=wire.near) as run:
        await run.until("gate", "Live")
        await far_screen.enter(run.link)
        tile = far_screen.tile("gate")
        await tile.until("live", seconds=30)
        await shows(tile, MAIN, seconds=10)
        wire.both(THIN)
        await shows(tile, SUB, seconds=30)
        assert (await tile.moves(frames=20, seconds=20)).camera == SUB
        wire.both(WIDE)
        await shows(tile, MAIN, seconds=2 * FIRST_REST + 20)
        await asyncio.sleep(3)
        assert (await tile.moves()).camera == MAIN
