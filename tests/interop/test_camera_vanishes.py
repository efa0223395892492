"""A camera that is gone without closing anything is offline within seconds; when it is back, the viewer who stayed sees
pictures again in the session he had."""

from collections.abc import Callable

from rigs.camera import Camera, Cameras
from rigs.manifests import camera
from rigs.network import Host
from rigs.up import Runs
from rigs.viewer import Viewer


async def test_camera_loses_its_power(cameras: Cameras, host: Host, up: Runs) -> None:
    source = cameras(number=5, host=host)
    await _pictures_resume_in_the_same_session(source, up, source.lose_power)


async def test_software_of_the_camera_hangs(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=6)
    await _pictures_resume_in_the_same_session(source, up, source.hang)


async def _pictures_resume_in_the_same_session(source: Camera, up: Runs, vanish: Callable[[], None]) -> None:
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(15)
            vanish()
            offline = await run.until("gate", "Offline", seconds=20)
            assert offline["reason"] in ("Stalled", "Timeout", "Unreachable")
            assert offline["message"]
            source.boot()
            await run.until("gate", "Live", seconds=30)
            await viewer.watch(30)
    assert source.stats().sessions_total == 1, "the camera that came back was pulled once"
