"""A camera that falls silent without closing anything is offline within seconds; when it is back, the viewer who stayed
sees pictures again in the session he had."""

from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer


async def test_pictures_resume_in_the_same_session(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=5)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(15)
            source.vanish()
            offline = await run.until("gate", "Offline", seconds=20)
            assert offline["reason"] in ("Stalled", "Timeout")
            assert offline["message"]
            before = viewer.frames
            source.come_back()
            await run.until("gate", "Live", seconds=30)
            await viewer.watch(30)
            assert viewer.frames >= before + 30
    assert source.stats().sessions_total == 1, "the camera that came back was pulled once"
