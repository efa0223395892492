"""Chromium plays every kind of H.264 that cameras send: it decodes, and what it shows is what the camera paints now."""

from typing import Any

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

VARIANTS: dict[str, dict[str, Any]] = {
    "baseline-short": {"profile": "baseline", "gop": 15, "number": 11},
    "baseline-long": {"profile": "baseline", "gop": 300, "number": 12},
    "high-short": {"profile": "high", "gop": 15, "in_band": True, "number": 13},
    "high-long": {"profile": "high", "gop": 300, "width": 640, "height": 360, "fps": 25, "number": 14},
    "with-audio": {"audio": True, "number": 15},
}


async def test_all_variants_play_on_one_wall(cameras: Cameras, up: Runs, screen: Screen) -> None:
    sources = {name: cameras(**variant) for name, variant in VARIANTS.items()}
    async with up(*(camera(name, source) for name, source in sources.items())) as run:
        for name in sources:
            await run.until(name, "Live")
        await screen.enter(run.link)
        for name, source in sources.items():
            tile = screen.tile(name)
            await tile.until("live")
            seen = await tile.moves()
            assert seen.camera == source.settings.number
            painted = source.stats().frames
            await tile.shows_later_than(painted - source.settings.fps, seconds=5)
        await screen.shot("variants")
        assert {name: source.stats().sessions_total for name, source in sources.items()} == dict.fromkeys(sources, 1)
