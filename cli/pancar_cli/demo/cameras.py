"""The process that holds the synthetic cameras: `python -m pancar_cli.demo.cameras`.

Started by `pancar demo`, and by whoever needs RTSP sources. Each camera has a port of its own, as it would have an
address of its own. Prints one line of JSON for each camera as soon as it runs, then serves until SIGTERM or SIGINT
or, with --lifeline, until its standard input ends, so that it cannot outlive the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass

from pancar_cli.demo.camera import Camera, Format
from pancar_cli.demo.rtsp.auth import Guard
from pancar_cli.demo.rtsp.h264 import AccessUnit
from pancar_cli.demo.rtsp.server import Server, Stream

PATH = "main"
LOCKED, FLAKY = 1, 2
PASSWORD_VARIABLE = "PANCAR_DEMO_PASSWORD"  # noqa: S105 - the name of a variable
USERNAME = "viewer"

_UP, _AWAY = (18.0, 24.0), (7.0, 10.0)
_PLACES = (
    ("Simpang Lima", "Pusat Kota"),
    ("Pintu Air Merdeka", "Sungai Timur"),
    ("Perlintasan Kereta", "Stasiun Lama"),
    ("Teluk Selatan", "Pelabuhan"),
    ("Jalan Pahlawan", "Pusat Kota"),
    ("Jembatan Merah", "Sungai Timur"),
    ("Stasiun Pasar", "Pasar Baru"),
    ("Pantai Senja", "Pelabuhan"),
)


@dataclass(frozen=True, slots=True)
class Site:
    """A camera's names and its temper: `locked` wants the password, `flaky` dies and returns."""

    index: int
    name: str
    title: str
    site: str
    locked: bool
    flaky: bool


def sites(count: int, locked: bool, flaky: bool) -> list[Site]:
    """The first `count` cameras of the demo city."""
    found = []
    for index in range(count):
        title, site = _PLACES[index % len(_PLACES)]
        if index >= len(_PLACES):
            title = f"{title} {index // len(_PLACES) + 1}"
        name = title.lower().replace(" ", "-")
        found.append(Site(index, name, title, site, locked and index == LOCKED, flaky and index == FLAKY))
    return found


@asynccontextmanager
async def running(site: Site, form: Format, host: str, port: int, guard: Guard | None) -> AsyncIterator[str]:
    """One camera on a server of its own; gives its RTSP URL."""
    loop = asyncio.get_running_loop()
    stream = Stream(guard=guard)

    def publish(unit: AccessUnit) -> None:
        loop.call_soon_threadsafe(stream.publish, unit)

    camera = await asyncio.to_thread(Camera, site.index, site.title, form, publish)
    stream.description, stream.want_key_frame = camera.description, camera.want_key_frame
    server = Server({PATH: stream})
    port = await server.listen(host, port)
    camera.start()
    failing = asyncio.create_task(_fail_at_times(server, host, port)) if site.flaky else None
    try:
        yield f"rtsp://{f'[{host}]' if ':' in host else host}:{port}/{PATH}"
    finally:
        if failing is not None:
            failing.cancel()
        await asyncio.to_thread(camera.stop)
        await server.close()


async def _fail_at_times(server: Server, host: str, port: int) -> None:
    """A camera with a loose plug."""
    between = random.SystemRandom().uniform
    while True:
        await asyncio.sleep(between(*_UP))
        server.vanish()
        await asyncio.sleep(between(*_AWAY))
        await _listen_again(server, host, port)


async def _listen_again(server: Server, host: str, port: int) -> None:
    """Waits while somebody else has the port, which was anybody's in the meantime."""
    while True:
        try:
            await server.listen(host, port)
        except OSError:
            await asyncio.sleep(1)
        else:
            return


async def serve(arguments: argparse.Namespace, password: str | None) -> None:
    """Runs all cameras until the process is told to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if arguments.lifeline:
        loop.add_reader(sys.stdin, lambda: stop.set() if not os.read(sys.stdin.fileno(), 4096) else None)
    width, height = arguments.size
    form = Format(width, height, arguments.fps, arguments.gop)
    async with AsyncExitStack() as cameras:
        for site in sites(arguments.count, password is not None, arguments.flaky):
            guard = Guard(USERNAME, password) if site.locked and password is not None else None
            port = arguments.port + site.index if arguments.port else 0
            url = await cameras.enter_async_context(running(site, form, arguments.host, port, guard))
            sys.stdout.write(json.dumps({**asdict(site), "url": url}) + "\n")
            sys.stdout.flush()
        await stop.wait()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    size = int(width), int(height)
    if not all(64 <= value <= 4096 and value % 2 == 0 for value in size):
        raise ValueError(text)
    return size


def main() -> None:
    """Parses the command line and serves."""
    parser = argparse.ArgumentParser(prog="python -m pancar_cli.demo.cameras", description="Synthetic RTSP cameras.")
    parser.add_argument("--count", type=int, default=1, help="how many cameras")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port of the first camera, the next has the next; 0: any")
    parser.add_argument("--size", type=_size, default=(640, 360), metavar="WxH", help="even numbers of pixels")
    parser.add_argument("--fps", type=int, default=15, choices=(5, 10, 15, 20, 25, 30), help="frames a second")
    parser.add_argument("--gop", type=float, default=2.0, help="seconds between key frames")
    parser.add_argument("--flaky", action="store_true", help="the third camera dies and returns")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    parser.epilog = f"With {PASSWORD_VARIABLE} set, the second camera wants it, and the user name {USERNAME!r}."
    asyncio.run(serve(parser.parse_args(), os.environ.get(PASSWORD_VARIABLE) or None))


if __name__ == "__main__":
    main()
