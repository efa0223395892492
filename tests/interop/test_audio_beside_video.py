"""A camera that sends audio too plays its video, and viewers are offered nothing else."""

from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer


async def test_plays(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=8, audio=True)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(30)
        assert {seen.camera for _, seen in viewer.seen} == {8}
        assert "m=audio" not in viewer.answer
