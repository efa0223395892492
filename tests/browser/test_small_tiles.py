"""A tile too small for the main stream is sent the sub, and the main stream once it is enlarged, in one session."""

from rigs.camera import Cameras
from rigs.chromium import Screen, Tile
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually

MAIN, SUB, REST = 1, 2, 3


async def shows(tile: Tile, number: int) -> None:
    async def shown() -> bool:
        seen = await tile.seen()
        return seen is not None and seen.camera == number

    await eventually(shown, f"stream {number} is on the tile", seconds=20)
    assert (await tile.moves(frames=5)).camera == number


async def test_enlarging_a_tile_brings_the_main_stream(cameras: Cameras, up: Runs, screen: Screen) -> None:
    main = cameras(number=MAIN, width=1280, height=960, fps=5, gop=50, kbps=1000)
    sub, rest = cameras(number=SUB), cameras(number=REST)
    others = [camera(f"other-{index}", rest) for index in range(3)]
    async with up(camera("gate", main, sub=sub), *others) as run:
        await run.until("gate", "Live")
        await screen.enter(run.link)
        tile = screen.tile("gate")
        await tile.until("live")
        await shows(tile, SUB)
        await screen.shot("small-tiles")
        await screen.page.locator('pancar-player[camera="default/gate"] ~ .enlarge').click()
        await shows(tile, MAIN)
        assert await tile.state() == "live"
        await screen.shot("enlarged-tile")
        await screen.page.keyboard.press("Escape")
        await shows(tile, SUB)
        assert sub.stats().sessions_most == main.stats().sessions_most == 1
