"""A viewer sees the cameras he has a right to, for as long as he has it."""

import pytest
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer, WhepError
from rigs.waiting import eventually

LIFETIME = 12


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


async def test_token_for_one_camera_opens_no_other(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=63)
    async with up(camera("theirs", source), camera("ours", source)) as run:
        await run.until("theirs", "Live")
        token = await run.mint("--camera", "default/theirs", "--ttl", f"{LIFETIME}s")
        async with Viewer(run, "theirs", token=token) as viewer:
            await viewer.watch(5)
            for name in ("ours", "absent"):
                with pytest.raises(WhepError) as refused:
                    async with Viewer(run, name, token=token):
                        pass
                assert refused.value.status == 403
            await eventually(lambda: viewer.ended, "the session ends with the right", seconds=LIFETIME + 5)
