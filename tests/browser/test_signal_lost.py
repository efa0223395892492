"""A picture that stands still never looks live: the tile says so within 5 s of the last new frame, and for how long."""

import time

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs


async def test_frozen_camera(cameras: Cameras, up: Runs, screen: Screen) -> None:
    frozen, playing = cameras(number=21), cameras(number=22)
    async with up(camera("freezing", frozen), camera("playing", playing)) as run:
        await screen.enter(run.link)
        tile, other = screen.tile("freezing"), screen.tile("playing")
        await tile.until("live")
        await other.until("live")
        await screen.shot("live")
        frozen.freeze()
        last_frame = time.monotonic()
        await tile.until("signal-lost", seconds=5)
        assert time.monotonic() - last_frame < 5
        await screen.shot("signal-lost")
        assert any(figure.isdigit() for figure in await tile.text()), "the age of the last frame is shown"
        assert await other.state() == "live"
        frozen.thaw()
        await tile.until("live", seconds=20)
        await tile.moves()
