"""What every bench runs against: synthetic cameras in one process, and `pancar up` over them in another.

The relay is measured from outside, by the kernel's own accounts of its process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from pancar_cli.bench.figures import BenchError
from pancar_cli.bench.viewer import Relay

_START_TIMEOUT = 90.0
_SCOPES = ("--scope", "watch", "--scope", "metrics")
NAMESPACE = "bench"


@dataclass(frozen=True, slots=True)
class Cameras:
    """What the synthetic cameras send."""

    count: int = 1
    fps: int = 25
    gop_s: float = 2.0
    bit_rate: int = 2_000_000
    # One camera that encodes as it goes, with the moment in its picture (`demo.timecode`).
    clock: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """A running process, read from /proc (proc_pid_schedstat, proc_pid_statm)."""

    pid: int

    def cpu(self) -> float:
        """User and system seconds of all its threads that live, to the nanosecond."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Source:
    """The synthetic cameras' process and the port of their RTSP server. Of each frame of the GOP, which they play round
    and round, `tails` holds the last bytes of its last payload."""

    process: subprocess.Popen[bytes]
    port: int
    tails: tuple[bytes, ...]

    def published(self) -> dict[int, float]:
        """When the first camera published its latest frames, by their number, in seconds of the wall clock. The frame
        of number n is the one of `tails` at n modulo their count; with a clock in it n is what that says."""
        if self.process.stdin is None or self.process.stdout is None:
            raise BenchError("the synthetic cameras are gone")
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return {int(slot): float(at) for slot, at in json.loads(self.process.stdout.readline())["published"]}


@dataclass(frozen=True, slots=True)
class Rig:
    """A relay with live cameras `bench/0` … `bench/count-1`."""

    relay: Relay
    process: Process
    cameras: Cameras
    source: Source

    def urls(self) -> list[str]:
        """The cameras' RTSP URLs."""
        return [_url(self.source.port, index) for index in range(self.cameras.count)]

    def camera(self, index: int = 0) -> str:
        """A camera as WHEP and the API name it."""
        return f"{NAMESPACE}/camera-{index}"


def _url(port: int, index: int) -> str:
    return f"rtsp://127.0.0.1:{port}/{index}"


def _manifests(port: int, count: int) -> str:
    documents = [
        {
            "apiVersion": "pancar.dev/v1alpha1",
            "kind": "Camera",
            "metadata": {"namespace": NAMESPACE, "name": f"camera-{index}"},
            "spec": {"source": {"main": {"url": _url(port, index)}}},
        }
        for index in range(count)
    ]
    return "\n---\n".join(json.dumps(document) for document in documents)


@asynccontextmanager
async def rig(cameras: Cameras, media: str = "127.0.0.1") -> AsyncIterator[Rig]:
    """Starts cameras and relay, waits until every camera is live, ends all of it; pictures come from the address
    `media`. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="pancar-bench-") as folder:
        home = Path(folder)
        source = await asyncio.to_thread(_start_cameras, cameras)
        try:
            up = _start_up(home, source.port, cameras.count, media)
            try:
                yield await _attach(home, up, cameras, source)
            finally:
                _end(up)
        finally:
            _end(source.process)


def _start_cameras(cameras: Cameras) -> Source:
    command = [sys.executable, "-m", "pancar_cli.bench.camera", f"--count={cameras.count}", f"--fps={cameras.fps}"]
    command += [f"--gop={cameras.gop_s}", f"--bit-rate={cameras.bit_rate}", *(["--clock"] if cameras.clock else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise BenchError("the synthetic cameras did not start")
    told = json.loads(line)
    return Source(process, int(told["port"]), tuple(bytes.fromhex(tail) for tail in told["tails"]))


def _start_up(home: Path, port: int, count: int, media: str) -> subprocess.Popen[bytes]:
    manifests = home / "cameras.yaml"
    manifests.write_text(_manifests(port, count))
    command = [sys.executable, "-m", "pancar_cli", "up", str(manifests), "--state-dir", str(home / "state")]
    command += ["--listen", "127.0.0.1:0", "--media-listen", f"{media}:0"]
    with (home / "up.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - ourselves


async def _attach(home: Path, up: subprocess.Popen[bytes], cameras: Cameras, source: Source) -> Rig:
    deadline = time.monotonic() + _START_TIMEOUT
    log = home / "up.log"
    while "/enter#" not in log.read_text(errors="replace"):
        if up.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"pancar up did not come up:\n{log.read_text(errors='replace')[-2000:]}")
        await asyncio.sleep(0.1)
    link = next(word for word in log.read_text(errors="replace").split() if "/enter#" in word)
    token = subprocess.run(  # noqa: S603, ASYNC221 - ourselves, before anything is measured
        [sys.executable, "-m", "pancar_cli", "token", "--state-dir", str(home / "state"), *_SCOPES],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    relay = Relay(link.split("/enter#")[0], token)
    await _wait_live(relay, cameras.count, deadline)
    return Rig(relay, Process(_child(up.pid)), cameras, source)


async def _wait_live(relay: Relay, count: int, deadline: float) -> None:
    headers = {"Authorization": f"Bearer {relay.token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        while True:
            async with http.get(f"{relay.base_url}/api/v1/cameras") as response:
                cameras = (await response.json())["cameras"]
            live = sum(camera["state"] == "Live" for camera in cameras)
            if live == count:
                return
            if time.monotonic() > deadline:
                raise BenchError(f"only {live} of {count} cameras became live")
            await asyncio.sleep(0.2)


async def engine_floor(function: str, *arguments: object) -> list[float]:
    """What a floor of the engine's returns, run in a process of its own. Raises BenchError."""
    code = (
        f"import json, sys; from pancar_relay._engine import {function};"
        f"print(json.dumps({function}(*json.load(sys.stdin))))"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)
    output, _ = await process.communicate(json.dumps(arguments).encode())
    if process.returncode != 0:
        raise BenchError(f"{function} failed")
    return [float(value) for value in json.loads(output)]


def _child(parent: int) -> int:
    """The relay's pid; `pancar up` keeps a standby beside it."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if Path(f"/proc/{child}/comm").read_text().strip() == "pancar-relay":
            return int(child)
    raise BenchError("pancar up has no relay process")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
