"""One session is sent a camera's main stream or its sub, as its viewer chooses; the sub is pulled for that alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
from pancar_relay.ingest.cameras import LINGER
from rigs.camera import Camera, Cameras
from rigs.manifests import camera
from rigs.up import Runs, Up
from rigs.viewer import Viewer
from rigs.waiting import eventually

MAIN, SUB = 1, 2


def both(cameras: Cameras) -> tuple[Camera, Camera]:
    """A main stream with a key frame in ten seconds, of which no switch waits for one, and a sub."""
    return cameras(number=MAIN, gop=150), cameras(number=SUB, width=160, height=128, kbps=100)


async def shows(viewer: Viewer, number: int) -> None:
    await eventually(lambda: viewer.seen[-1][1].camera == number, f"stream {number} is shown", seconds=40)
    await viewer.watch(5)
    assert viewer.seen[-1][1].camera == number


@asynccontextmanager
async def listening(run: Up, viewer: Viewer) -> AsyncIterator[list[tuple[str, Any]]]:
    """The session's events as they come."""
    (link,) = [link for link in viewer.links if "server-sent-events" in link]
    events: list[tuple[str, Any]] = []

    async def read() -> None:
        headers = {"Authorization": f"Bearer {run.token}"}
        async with (
            aiohttp.ClientSession() as http,
            http.get(run.base + link[1 : link.index(">")], headers=headers) as it,
        ):
            name = ""
            async for line in it.content:
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    events.append((name, json.loads(value)))

    task = asyncio.create_task(read())
    try:
        yield events
    finally:
        task.cancel()
        await asyncio.wait([task])


def sent(events: list[tuple[str, Any]]) -> list[str]:
    """What each event of layers named active."""
    layers = [data for name, data in events if name == "layers"]
    return [layer["id"] for data in layers for media in data.values() for layer in media["active"]]


async def test_a_viewer_chooses_while_he_watches(cameras: Cameras, up: Runs) -> None:
    main, sub = both(cameras)
    async with up(camera("gate", main, sub=sub)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer, Viewer(run, "gate") as other, listening(run, viewer) as events:
            await viewer.watch(10)
            assert sub.stats().sessions_total == 0
            await eventually(lambda: sent(events) == ["main"], "the layers are told")
            assert ("active", {}) in events

            assert (await viewer.ask("POST", "/layer", {"encodingId": "sub"}))[0] == 200
            await shows(viewer, SUB)
            await eventually(lambda: sent(events)[-1] == "sub", "the switch is told")
            assert sub.stats().sessions == 1
            await other.watch(5)
            assert {seen.camera for _, seen in other.seen} == {MAIN}

            assert (await viewer.ask("DELETE", "/layer"))[0] == 200
            await shows(viewer, MAIN)
            await eventually(lambda: sub.stats().sessions == 0, "the sub is let go", seconds=LINGER + 10)
            assert (main.stats().sessions_total, sub.stats().sessions_total) == (1, 1)
            switches = [a != b for a, b in pairwise(seen.camera for _, seen in viewer.seen)]
            assert sum(switches) == 2, "there and back"
            assert not viewer.ended


async def test_a_sub_that_fails_gives_the_main_stream_back(cameras: Cameras, up: Runs) -> None:
    main, sub = both(cameras)
    async with up(camera("gate", main, sub=sub)) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(5)
            await viewer.ask("POST", "/layer", {"encodingId": "sub"})
            await shows(viewer, SUB)
            sub.stop()
            await shows(viewer, MAIN)
            sub.start()
            await shows(viewer, SUB)


async def test_a_camera_without_a_sub_has_nothing_to_choose(cameras: Cameras, up: Runs) -> None:
    async with up(camera("gate", cameras(number=MAIN))) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            assert not [link for link in viewer.links if "core:layer" in link]
            await viewer.watch(5)
            assert (await viewer.ask("POST", "/layer", {"encodingId": "sub"}))[0] == 200
            for body in ({"encodingId": "4k"}, {"encodingId": 7}, ["sub"], {"encodingId": "sub", "mediaId": "x"}):
                status, _ = await viewer.ask("POST", "/layer", body)
                assert status == 400, body
            assert (await viewer.ask("POST", "/events", ["layers", "reactions"]))[0] == 201
            await viewer.watch(5)
            assert {seen.camera for _, seen in viewer.seen} == {MAIN}
