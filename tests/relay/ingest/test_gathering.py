"""What a camera sends while nobody watches is read a few times a second; a viewer has it read as it comes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pancar_relay._engine import Engine
from rigs.replay import Replay
from rigs.waiting import eventually


@asynccontextmanager
async def pulling(camera: Replay) -> AsyncIterator[tuple[Engine, int]]:
    """An engine that pulls the camera, and its stream."""
    engine = Engine("127.0.0.1", 0)
    try:
        stream = engine.open_stream()
        engine.pull(stream, camera.url, transport="tcp")
        await eventually(lambda: engine.stats().streams[0].frames > 15, "pictures come")
        yield engine, stream
    finally:
        await asyncio.to_thread(engine.close)


def watch(engine: Engine, stream: int) -> int:
    """As a viewer's offer does, who has yet to show himself."""
    return engine.add_viewer(
        stream,
        local_ufrag="ours",
        local_pwd="ours" * 6,
        remote_ufrag="theirs",
        payload_type=96,
        ssrc=1,
        cname="relay",
    )


def unread(camera: Replay) -> int:
    """Bytes of the camera's that wait in the relay's kernel (proc_net_tcp)."""
    port = urlsplit(camera.url).port
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].rpartition(":")[2], 16) for row in rows if int(row[2].rpartition(":")[2], 16) == port)


async def waits(camera: Replay) -> float:
    """The part of two seconds in which something of the camera's waited."""
    samples = []
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        samples.append(unread(camera) > 0)
        await asyncio.sleep(0.003)
    return sum(samples) / len(samples)


async def test_pictures_wait_for_their_turn_only_while_nobody_watches() -> None:
    async with Replay("plain") as camera, pulling(camera) as (engine, stream):
        other = engine.open_stream()
        at_rest = await waits(camera)
        assert at_rest > 0.4
        viewer = watch(engine, stream)
        assert await waits(camera) < at_rest / 2
        engine.remove_viewer(viewer)
        assert await waits(camera) > 0.4
        viewer = watch(engine, other)
        engine.switch(viewer, stream)
        assert await waits(camera) < at_rest / 2


async def test_no_picture_is_late_or_lost_for_waiting() -> None:
    async with Replay("plain") as camera, pulling(camera) as (engine, _):
        before, since = engine.stats().streams[0].frames, time.monotonic()
        ages = []
        for _ in range(40):
            ages.append(engine.stats().streams[0].last_frame_age or 0.0)
            await asyncio.sleep(0.05)
        stats, elapsed = engine.stats().streams[0], time.monotonic() - since
    assert max(ages) < 1.0
    assert abs((stats.frames - before) / elapsed - 15) < 3
    assert stats.packets_lost == 0


async def test_a_camera_that_answers_the_teardown_is_not_waited_for() -> None:
    """The answer is a few bytes, and nothing follows."""
    async with Replay("plain") as camera:
        async with pulling(camera):
            since = time.monotonic()
        assert "TEARDOWN" in camera.requests
        assert time.monotonic() - since < 1.0
