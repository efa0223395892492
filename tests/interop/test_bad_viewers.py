"""A viewer who hears nothing any more, or too little, or too late, costs the others no picture."""

import asyncio
import contextlib

import aiohttp
import pytest
from pancar_cli.bench.viewer import Relay
from pancar_cli.bench.watching import watching
from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer
from rigs.waiting import eventually

BAD = {
    "deaf": Impairment(loss=1.0),
    # A tenth of what the camera sends, and of that no more than a second's.
    "thin": Impairment(rate=50_000, queue=6_000),
    "late": Impairment(delay=10.0),
}


@pytest.mark.parametrize("impairment", BAD.values(), ids=list(BAD))
async def test_the_others_see_every_picture(impairment: Impairment, cameras: Cameras, up: Runs, wire: Wire) -> None:
    source = cameras(number=23, gop=30)
    async with contextlib.AsyncExitStack() as stack:
        run = await stack.enter_async_context(up(camera("gate", source), listen=wire.near))
        await run.until("gate", "Live")
        others = [await stack.enter_async_context(Viewer(run, "gate", tls=False)) for _ in range(3)]
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)))
        far = watching(http, Relay(run.base, run.token), "default/gate", wire.socket())
        receiver = await stack.enter_async_context(far)
        await eventually(lambda: receiver.freezes.pictures > 20, "the viewer far away sees pictures")
        for other in others:
            await other.watch(5)
        wire.change(to_far=impairment)
        before, seen_before = wire.counts()[0], [len(other.seen) for other in others]
        await asyncio.gather(*(other.watch(60) for other in others))
        after = wire.counts()[0]
        assert after.taken > before.taken, "the relay went on sending to him"
        assert after.released - before.released < (after.taken - before.taken) / 2, "of which he has a part at most"
        for other, count in zip(others, seen_before, strict=True):
            frames = [seen.frame for _, seen in other.seen[count:]]
            assert frames == list(range(frames[0], frames[0] + len(frames))), "none is missing"
            assert other.unread == 0
