"""A viewer whom nothing reaches any more costs the others no picture."""

import asyncio
import contextlib

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate
from pancar_cli.bench.viewer import LightViewer, Relay
from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer
from rigs.waiting import eventually


async def test_the_others_see_every_picture(cameras: Cameras, up: Runs, wire: Wire) -> None:
    source = cameras(number=23, gop=30)
    async with contextlib.AsyncExitStack() as stack:
        run = await stack.enter_async_context(up(camera("gate", source), listen=wire.near))
        await run.until("gate", "Live")
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)))
        others = [await stack.enter_async_context(Viewer(run, "gate", tls=False)) for _ in range(3)]
        relay = Relay(run.base, run.token)
        deaf = LightViewer(relay, "default/gate", RTCCertificate.generateCertificate(), wire.socket())
        heard = 0

        def count(_now: float, _packet: bytes) -> None:
            nonlocal heard
            heard += 1

        stack.push_async_callback(deaf.leave, http)
        await deaf.join(http, count)
        await eventually(lambda: heard > 20, "the viewer far away gets pictures")
        for other in others:
            await other.watch(5)
        wire.change(to_far=Impairment(loss=1.0))
        await asyncio.sleep(0.1)
        heard_before, seen_before = heard, [len(other.seen) for other in others]
        await asyncio.gather(*(other.watch(60) for other in others))
        lost = wire.counts()[0].lost
        assert heard == heard_before
        assert lost > 60, "the relay went on sending to him"
        for other, before in zip(others, seen_before, strict=True):
            frames = [seen.frame for _, seen in other.seen[before:]]
            assert frames == list(range(frames[0], frames[0] + len(frames))), "none is missing"
            assert other.unread == 0
