"""Cameras are added, changed and removed by editing the file, while the others play on untouched."""

import itertools

import pytest
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer, WhepError
from rigs.waiting import eventually


async def test_edits_leave_the_others_alone(cameras: Cameras, up: Runs) -> None:
    steady, first, second, third = (cameras(number=number) for number in (1, 2, 3, 4))
    async with up(camera("steady", steady), camera("changing", first)) as run:
        await run.until("steady", "Live")
        await run.until("changing", "Live")
        async with Viewer(run, "steady") as viewer, Viewer(run, "changing") as other:
            await viewer.watch(5)
            await other.watch(5)

            run.write([camera("steady", steady), camera("changing", first), camera("added", third)])
            await run.until("added", "Live")

            run.write([camera("steady", steady), camera("changing", second), camera("added", third)])
            await eventually(lambda: other.seen[-1][1].camera == 3, "the changed camera shows its new source")
            await eventually(lambda: first.stats().sessions == 0, "the old source was let go")

            run.write([camera("steady", steady), camera("changing", second)])
            await eventually(lambda: third.stats().sessions == 0, "the removed camera was let go")
            await run.until_gone("added")
            with pytest.raises(WhepError) as refused:
                async with Viewer(run, "added"):
                    pass
            assert refused.value.status == 404

            await viewer.watch(5)
        # By the camera's count of a second's pictures, not by the clock: this test's own loop may be held up.
        frames = [seen.frame for _, seen in viewer.seen]
        longest_gap = max(later - earlier for earlier, later in itertools.pairwise(frames))
        assert longest_gap < steady.settings.fps, "the camera that nobody touched played on"
        counted = steady.stats()
        assert (counted.connections, counted.sessions, counted.sessions_total) == (1, 1, 1)
