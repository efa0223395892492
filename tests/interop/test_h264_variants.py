"""Every kind of H.264 that cameras send plays on an independent viewer, who need not wait for the next key frame."""

import time
from typing import Any

import pytest
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer
from rigs.waiting import eventually

VARIANTS: dict[str, dict[str, Any]] = {
    "baseline, short GOP": {"profile": "baseline", "gop": 15},
    "baseline, GOP of 300 frames": {"profile": "baseline", "gop": 300},
    "high, short GOP, parameter sets in band": {"profile": "high", "gop": 15, "in_band": True},
    "high, GOP of 300 frames": {"profile": "high", "gop": 300, "width": 640, "height": 360, "fps": 25},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
async def test_plays_at_once_in_mid_gop(variant: dict[str, Any], cameras: Cameras, up: Runs) -> None:
    source = cameras(number=42, **variant)
    async with up(camera("gate", source)) as run:
        live = await run.until("gate", "Live")
        assert (live["video"]["width"], live["video"]["height"]) == (source.settings.width, source.settings.height)
        # Past the first GOP where it is short; deep inside it where it takes 12 s or more.
        time_of_join = time.monotonic()
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(1, seconds=15)
            # Soon at the live edge: he has what the camera paints now, after the frames that led there.
            await eventually(
                lambda: source.stats().frames - viewer.seen[-1][1].frame <= source.settings.fps // 2,
                "the viewer is at the live edge",
                seconds=15,
            )
            await viewer.watch(30)
        first_seen, _ = viewer.seen[0]
        # Half of what the next key frame takes where the GOP is long.
        assert first_seen - time_of_join < 6
        assert {seen.camera for _, seen in viewer.seen} == {42}
        frames = [seen.frame for _, seen in viewer.seen]
        assert frames == sorted(frames), "pictures never run backwards"
        assert viewer.unread <= viewer.frames // 20
