"""Packets that come late, in the wrong order and twice cost a viewer no picture."""

import aiohttp
from pancar_cli.bench.viewer import Relay
from pancar_cli.bench.watching import watching
from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually

DISORDER = Impairment(delay=0.02, jitter=0.03, reorder=0.05, reorder_by=0.01, duplicate=0.05)
FRAMES = 75


async def test_every_picture_is_shown_once(cameras: Cameras, up: Runs, wire: Wire) -> None:
    source = cameras(number=24, width=640, height=360, gop=150, kbps=1500)
    async with (
        up(camera("gate", source), listen=wire.near) as run,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http,
    ):
        await run.until("gate", "Live")
        async with watching(http, Relay(run.base, run.token), "default/gate", wire.socket()) as receiver:
            await eventually(lambda: receiver.freezes.pictures > 20, "he has caught up")
            wire.both(DISORDER)
            receiver.count_anew()
            painted = source.stats().frames
            await eventually(lambda: receiver.freezes.pictures >= FRAMES, f"{FRAMES} pictures", seconds=20)
            shown, painted = receiver.freezes.pictures, source.stats().frames - painted
        to_viewer = wire.counts()[0]
        assert to_viewer.duplicated > 5
        assert receiver.counts.recovered > 5
        # None twice, and none missing: with ten seconds to the next key frame one that is would end them all.
        assert abs(shown - painted) <= 15
        assert receiver.counts.keys_asked == 0
