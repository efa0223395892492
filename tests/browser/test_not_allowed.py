"""The wall shows a viewer the cameras he has a right to; when it ends while he watches, the tile says so."""

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

# Seconds from minting, of which a busy machine takes a good part before there is a picture.
LIFETIME = 30


async def test_right_ends_while_watching(cameras: Cameras, up: Runs, screen: Screen) -> None:
    theirs, ours = cameras(number=61), cameras(number=62)
    async with up(camera("theirs", theirs), camera("ours", ours)) as run:
        await run.until("theirs", "Live")
        await run.until("ours", "Live")
        bounds = ("--camera", "default/theirs", "--ttl", f"{LIFETIME}s")
        link = (await run.pancar("token", "--link", *bounds)).strip()
        await screen.enter(link)
        tile = screen.tile("theirs")
        await tile.until("live", seconds=LIFETIME - 4)
        assert await screen.tile("ours").player.count() == 0
        await tile.until("not-allowed", seconds=LIFETIME + 5)
        assert await tile.seen() is None or not await tile.video.is_visible()
        await screen.shot("not-allowed")
