"""The cameras' process as others use it: FFmpeg plays it, its pictures move, and it ends with its parent."""

import asyncio
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import av
import pytest
from pancar_cli.demo import timecode
from pancar_cli.demo.cameras import LOCKED, PASSWORD_VARIABLE, USERNAME
from rigs.waiting import eventually

PASSWORD = "rahasia-7"
Run = tuple[list[dict[str, Any]], asyncio.subprocess.Process]


@asynccontextmanager
async def cameras(count: int, *options: str, password: str = "") -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pancar_cli.demo.cameras", "--count", str(count), "--lifeline", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, PASSWORD_VARIABLE: password},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            lines = [json.loads(await process.stdout.readline()) for _ in range(count)]
        yield lines, process
    finally:
        process.stdin.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0


def pictures(url: str) -> Iterator[tuple[av.VideoFrame, int | None]]:
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=10) as container:
        for packet in container.demux(video=0):
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                yield frame, packet.dts


def moment_of(frame: av.VideoFrame) -> int:
    """The timecode, in Unix milliseconds within its span."""
    luma, line = bytes(frame.planes[0]), frame.planes[0].line_size
    row = (frame.height - frame.height // 90) * line
    cells = [luma[row + (2 * cell + 1) * frame.width // (2 * timecode.CELLS)] for cell in range(timecode.CELLS)]
    moment = timecode.read(cells)
    assert moment is not None
    return moment


def take(url: str, count: int) -> list[tuple[av.VideoFrame, int]]:
    found = []
    for frame, dts in pictures(url):
        assert frame.pts == dts, "a B-frame"
        found.append((frame, moment_of(frame)))
        if len(found) == count:
            break
    return found


async def test_pictures_move_at_their_rate_and_tell_the_time() -> None:
    async with cameras(2, "--fps", "20", "--gop", "1") as (lines, _):
        for line in lines:
            taken = await asyncio.to_thread(take, line["url"], 45)
            frames, moments = [frame for frame, _ in taken], [moment for _, moment in taken]
            assert (frames[0].width, frames[0].height) == (640, 360)
            intervals = [timecode.elapsed(a, b) for a, b in itertools.pairwise(moments)]
            # A camera that is starved of CPU leaves pictures out; it never sends too many nor slows its clock down.
            assert 40 < statistics.median(intervals) < 260
            assert all(0 < interval < 3000 for interval in intervals)
            # RTP's clock and the burnt-in one tell the same time. FFmpeg gives the very first picture none.
            ticks = [frame.pts for frame in frames[1:] if frame.pts is not None]
            late = [
                timecode.elapsed(moments[1], moment) - (tick - ticks[0]) / 90
                for tick, moment in zip(ticks, moments[1:], strict=True)
            ]
            # Any picture may be drawn late, but of each half one was not.
            assert min(late[:22]) == pytest.approx(min(late[22:]), abs=60)
            age = timecode.elapsed(moments[-1], int(time.time() * 1000) % timecode.SPAN)
            assert age < 10_000
            assert _upper(frames[0]) != _upper(frames[-1]), "only the clock moves"
            assert sum(frame.key_frame for frame in frames) >= 2


def _upper(frame: av.VideoFrame) -> bytes:
    """The scene between the clock and the timecode."""
    line = frame.planes[0].line_size
    return bytes(frame.planes[0])[frame.height // 5 * line : frame.height * 9 // 10 * line]


async def test_other_sizes() -> None:
    async with cameras(1, "--size", "426x240") as (lines, _):
        ((frame, _), *_) = await asyncio.to_thread(take, lines[0]["url"], 3)
        assert (frame.width, frame.height) == (426, 240)


async def test_one_camera_wants_the_password() -> None:
    async with cameras(3, password=PASSWORD) as (lines, _):
        assert [line["locked"] for line in lines] == [index == LOCKED for index in range(3)]
        assert PASSWORD not in json.dumps(lines)
        locked = lines[LOCKED]["url"]
        with pytest.raises(av.error.HTTPUnauthorizedError):
            await asyncio.to_thread(take, locked, 1)
        opened = locked.replace("rtsp://", f"rtsp://{USERNAME}:{PASSWORD}@")
        assert len(await asyncio.to_thread(take, opened, 3)) == 3
        wrong = locked.replace("rtsp://", f"rtsp://{USERNAME}:wrong@")
        with pytest.raises(av.error.HTTPUnauthorizedError):
            await asyncio.to_thread(take, wrong, 1)


async def test_it_ends_with_its_parent_and_with_a_client_playing() -> None:
    async with cameras(1) as (lines, process):
        seen: list[av.VideoFrame] = []

        def play() -> None:
            for frame, _ in pictures(lines[0]["url"]):
                seen.append(frame)

        playing = asyncio.create_task(asyncio.to_thread(play))
        await eventually(lambda: len(seen) >= 5, "FFmpeg plays it", seconds=30)
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0
        await playing
