"""A token opens the cameras it names, for as long as it is good."""

import pytest
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer, WhepError
from rigs.waiting import eventually

# Seconds from minting, of which a busy machine takes a good part before there is a picture.
LIFETIME = 30


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
