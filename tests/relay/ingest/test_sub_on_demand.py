"""A camera's sub is pulled while somebody needs it, and no longer; the main stream knows nothing of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pancar_relay._engine import Engine, PullEnded, PullStarted, VideoChanged
from pancar_relay.desired import Assignment, CameraKey, Source
from pancar_relay.ingest.cameras import LINGER, Cameras, View
from pancar_relay.ingest.pulls import State
from rigs import camera as rig
from rigs.hurried import run
from rigs.waiting import eventually

GATE = CameraKey("kota", "gate")
PACE = 10.0
WITHIN = 20.0 * PACE


@asynccontextmanager
async def ingesting() -> AsyncIterator[Cameras]:
    engine = Engine("127.0.0.1", 0)
    cameras = Cameras(engine)

    def events() -> None:
        for event in engine.events():
            if isinstance(event, PullStarted | VideoChanged | PullEnded):
                cameras.on_event(event)

    loop = asyncio.get_running_loop()
    loop.add_reader(engine.fileno(), events)
    try:
        yield cameras
    finally:
        loop.remove_reader(engine.fileno())
        cameras.close()
        await asyncio.to_thread(engine.close)


def view(cameras: Cameras) -> View:
    found = cameras.view(GATE)
    assert found is not None
    return found


async def until(cameras: Cameras, what: str, holds: Callable[[View], bool]) -> View:
    await eventually(lambda: holds(view(cameras)), what, seconds=WITHIN)
    return view(cameras)


def gate(main: rig.Camera, sub: rig.Camera | None, **fields: bool) -> Assignment:
    return Assignment(GATE, Source(main.url), sub=Source(sub.url) if sub else None, paused=fields.get("paused", False))


@pytest.fixture
def main(cameras: rig.Cameras) -> rig.Camera:
    return cameras(width=320, height=240, number=1)


@pytest.fixture
def sub(cameras: rig.Cameras) -> rig.Camera:
    return cameras(width=160, height=128, number=1)


def test_a_sub_is_pulled_while_needed(main: rig.Camera, sub: rig.Camera) -> None:
    async def scenario() -> None:
        async with ingesting() as cameras:
            cameras.desire([gate(main, sub)])
            seen = await until(cameras, "the main stream is live", lambda view: view.state is State.LIVE)
            assert (seen.has_sub, seen.sub, sub.stats().sessions_total) == (True, None, 0)

            first, second = cameras.need_sub(GATE), cameras.need_sub(GATE)
            seen = await until(cameras, "the sub is live", lambda view: view.sub is not None)
            assert seen.sub is not None
            assert (seen.sub.video.width, seen.sub.video.height) == (160, 128)
            assert seen.sub.stream != seen.stream
            first()
            first()
            await asyncio.sleep(2 * LINGER)
            assert view(cameras).sub is not None, "one who needs it is left"
            second()
            again = cameras.need_sub(GATE)
            again()
            await until(cameras, "nobody needs it any more", lambda view: view.sub is None)
            await eventually(lambda: sub.stats().sessions == 0, "the sub is let go", seconds=WITHIN)
            assert (sub.stats().sessions_total, main.stats().sessions) == (1, 1)

    run(PACE, scenario())


def test_a_sub_that_fails_leaves_the_main_stream_alone(main: rig.Camera, sub: rig.Camera) -> None:
    async def scenario() -> None:
        async with ingesting() as cameras:
            cameras.desire([gate(main, sub)])
            release = cameras.need_sub(GATE)
            await until(cameras, "both are live", lambda view: view.state is State.LIVE and view.sub is not None)
            sub.stop()
            seen = await until(cameras, "the sub is down", lambda view: view.sub is None)
            assert (seen.state, seen.reason, cameras.faults) == (State.LIVE, None, {})
            sub.start()
            await until(cameras, "the sub is back", lambda view: view.sub is not None)
            release()
            assert main.stats().sessions_total == 1

    run(PACE, scenario())


def test_a_pause_ends_the_sub_too_and_an_edit_takes_effect_on_it(
    main: rig.Camera, sub: rig.Camera, cameras: rig.Cameras
) -> None:
    other = cameras(width=176, height=144, number=1)

    async def scenario() -> None:
        async with ingesting() as held:
            held.desire([gate(main, sub)])
            held.need_sub(GATE)
            await until(held, "the sub is live", lambda view: view.sub is not None)
            held.desire([gate(main, other)])
            await until(held, "it is the new one", lambda view: view.sub is not None and view.sub.video.width == 176)
            held.desire([gate(main, other, paused=True)])
            assert view(held).sub is None
            await eventually(lambda: other.stats().sessions == 0, "the sub is let go", seconds=WITHIN)
            held.desire([gate(main, None)])
            seen = await until(held, "the main stream is back", lambda view: view.state is State.LIVE)
            assert (seen.has_sub, seen.sub) == (False, None)
            held.desire([])
            assert held.view(GATE) is None

    run(PACE, scenario())
