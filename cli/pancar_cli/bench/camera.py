"""The process that holds the benches' cameras: `python -m pancar_cli.bench.camera`.

Encodes one GOP of the wanted bit rate, then plays it round and round on every path, so that a hundred cameras cost
about what a hundred sockets cost. Prints one JSON line with the port and what tells the GOP's frames apart once it
serves; then for each line of its standard input one with when it published its latest frames. Ends with that.

With --clock there is one camera instead, which draws and encodes as the demo's do, with the moment in its picture.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import time
from collections import deque
from fractions import Fraction

import av
from PIL import Image, ImageChops

from pancar_cli.demo.camera import Camera, Format
from pancar_cli.demo.rtsp import h264
from pancar_cli.demo.rtsp.server import Server, Stream

WIDTH, HEIGHT = 1280, 720
CLOCK_RATE = 90_000
# Of a frame's last payload, which is sealed into its last packet: enough to know it again.
TAIL = 16
# Slots of the first camera whose moment is remembered.
_REMEMBERED = 2000


def encode_gop(frames: int, fps: int, bit_rate: int) -> tuple[h264.Description, list[h264.AccessUnit]]:
    """One GOP of a scrolling texture; the first access unit is an IDR."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, fps), Fraction(fps)
    codec.gop_size, codec.max_b_frames, codec.bit_rate = frames, 0, bit_rate
    # Several threads would encode several frames at once, and hold back as many.
    codec.thread_count = 1
    rate = bit_rate // 1000
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"scenecut=0:bframes=0:sliced-threads=0:vbv-maxrate={rate}:vbv-bufsize={rate // 2}",
    }
    texture = Image.effect_noise((WIDTH, HEIGHT), 60).convert("RGB")
    units: list[h264.AccessUnit] = []
    parameters: tuple[bytes, bytes] | None = None
    for index in range(frames):
        picture = ImageChops.offset(texture, index * 3, index)
        frame: av.VideoFrame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call] # PyAV types it not
        frame = frame.reformat(format="yuv420p")
        frame.pts = index
        nals = [nal for packet in codec.encode(frame) for nal in h264.nals(bytes(packet))]
        parameters = parameters or h264.parameter_sets(nals)
        units.append(h264.access_unit(nals, 0, 0.0))
    if parameters is None or not all(unit.payloads for unit in units):
        raise RuntimeError("the encoder held frames back or gave no parameter sets")
    return h264.Description("bench", *parameters), units


async def play(
    streams: list[Stream], units: list[h264.AccessUnit], fps: int, published: deque[tuple[int, float]]
) -> None:
    """Publishes for ever, each camera at an instant of its own within the frame interval; `published` gets the first
    camera's slots with their moments."""
    start = time.monotonic()
    slot = 0
    while True:
        unit = units[slot % len(units)]
        timestamp = slot * CLOCK_RATE // fps
        for index, stream in enumerate(streams):
            due = start + (slot + index / len(streams)) / fps
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            now = time.time()
            if index == 0:
                published.append((slot, now))
            stream.publish(dataclasses.replace(unit, timestamp=timestamp, captured=now))
        slot += 1


async def serve(count: int, fps: int, gop_seconds: float, bit_rate: int) -> None:
    """Serves paths `0` to `count - 1` until standard input ends."""
    description, units = encode_gop(max(1, round(fps * gop_seconds)), fps, bit_rate)
    streams = [Stream(description=description) for _ in range(count)]
    server = Server({str(index): stream for index, stream in enumerate(streams)}, max_connections=4 * count)
    published: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
    playing = asyncio.create_task(play(streams, units, fps, published))
    await _until_ended(server, published, [unit.payloads[-1][-TAIL:].hex() for unit in units])
    playing.cancel()


async def serve_clock(fps: int, gop_seconds: float) -> None:
    """Serves path `0`; frames are known by the milliseconds that their picture holds."""
    loop = asyncio.get_running_loop()
    stream = Stream()
    published: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    def publish(unit: h264.AccessUnit) -> None:
        loop.call_soon_threadsafe(stream.publish, unit)
        published.append((int(unit.captured * 1000), time.time()))

    camera = await asyncio.to_thread(Camera, 0, "clock", Format(WIDTH, HEIGHT, fps, gop_seconds), publish)
    stream.description, stream.want_key_frame = camera.description, camera.want_key_frame
    camera.start()
    await _until_ended(Server({"0": stream}), published, [])
    await asyncio.to_thread(camera.stop)


async def _until_ended(server: Server, published: deque[tuple[int, float]], tails: list[str]) -> None:
    """Serves, and answers standard input until it ends."""
    ended = asyncio.Event()

    def asked() -> None:
        if os.read(sys.stdin.fileno(), 4096):
            _say({"published": list(published)})
        else:
            ended.set()

    _say({"port": await server.listen("127.0.0.1", 0), "tails": tails})
    asyncio.get_running_loop().add_reader(sys.stdin, asked)
    await ended.wait()
    await server.close()


def _say(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Parses the command line and serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--gop", type=float, default=2.0, help="seconds between key frames")
    parser.add_argument("--bit-rate", type=int, default=2_000_000, help="bits a second")
    parser.add_argument("--clock", action="store_true", help="one camera, with the moment in its picture")
    arguments = parser.parse_args()
    if arguments.clock:
        asyncio.run(serve_clock(arguments.fps, arguments.gop))
        return
    asyncio.run(serve(arguments.count, arguments.fps, arguments.gop, arguments.bit_rate))


if __name__ == "__main__":
    main()
