"""Third-party cameras for the tests: each a process with GStreamer's RTSP server in it, told what to do from here."""

import dataclasses
import json
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from rigs.network import Host

SYSTEM_PYTHON = "/usr/bin/python3"
PROBE = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
elements = ("x264enc", "rtph264pay", "rtppcmapay", "appsrc")
raise SystemExit(0 if all(map(Gst.ElementFactory.find, elements)) else 1)
"""
ANSWER_SECONDS = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """What `gst_camera` takes. `gop` is in frames; `number` is burnt into the picture; `session_limit` refuses more."""

    number: int = 1
    profile: str = "baseline"
    gop: int = 15
    fps: int = 15
    width: int = 320
    height: int = 240
    kbps: int = 500
    b_frames: int = 0
    in_band: bool = False
    audio: bool = False
    auth: str | None = None
    username: str = "viewer"
    password: str = ""
    session_limit: int | None = None
    transports: tuple[str, ...] = ("tcp", "udp")
    # Seconds without a sign of the client.
    session_timeout: int = 60
    address: str = "127.0.0.1"
    port: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraStats:
    """As the camera counts: `sessions` that play now, the `sessions_most` at once, and `sessions_total` ever."""

    connections: int
    clients: int
    describes: int
    refused: int
    sessions: int
    sessions_most: int
    sessions_total: int
    frames: int


def require_gstreamer() -> None:
    """Skips the test where GStreamer's RTSP server is not installed."""
    if subprocess.run([SYSTEM_PYTHON, "-c", PROBE], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("GStreamer's RTSP server is missing: see tests/install-peers.sh")


class Camera:
    """One camera; its process ends with `stop`, or with the test's own process. It may stand on a host of its own."""

    def __init__(self, settings: CameraSettings, host: Host | None = None) -> None:
        self.settings = dataclasses.replace(settings, address=host.address) if host else settings
        self._host = host
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Starts, or starts again on the port it had."""
        script = Path(__file__).with_name("gst_camera.py")
        arguments = json.dumps(dataclasses.asdict(self.settings))
        self._process = subprocess.Popen(
            [*(self._host.command if self._host else ()), SYSTEM_PYTHON, script, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.settings = dataclasses.replace(self.settings, port=self._answer()["port"])

    @property
    def url(self) -> str:
        return f"rtsp://{self.settings.address}:{self.settings.port}/live"

    def stats(self) -> CameraStats:
        return self._ask("stats")

    def freeze(self) -> None:
        """No more frames, while RTSP and its connections live on."""
        self._ask("freeze")

    def thaw(self) -> None:
        self._ask("thaw")

    def hang(self) -> None:
        """Its software stands still from one moment to the next, while its kernel goes on acknowledging."""
        self._running().send_signal(signal.SIGSTOP)

    def lose_power(self) -> None:
        """Is gone from one moment to the next: no FIN, no RST, no answer to anything. Takes a host of its own."""
        assert self._host is not None
        self._host.unplug()
        self.stop()

    def boot(self) -> None:
        """Comes back after `hang` or `lose_power`, knowing nothing of earlier sessions."""
        if self._process is None and self._host is not None:
            self._host.plug_in()
        self.stop()
        self.start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, command: str) -> CameraStats:
        stdin = self._running().stdin
        assert stdin is not None
        stdin.write(command + "\n")
        return CameraStats(**self._answer())

    def _answer(self) -> Any:
        stdout = self._running().stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], ANSWER_SECONDS)
        line = stdout.readline() if ready else ""
        if not line:
            pytest.fail(f"the camera said nothing within {ANSWER_SECONDS:g} s")
        return json.loads(line)

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the camera is stopped"
        return self._process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Cameras:
    """Hands out cameras to a test and stops them after it."""

    def __init__(self) -> None:
        self._running: list[Camera] = []

    def __call__(self, *, host: Host | None = None, **settings: Any) -> Camera:
        camera = Camera(CameraSettings(**settings), host)
        self._running.append(camera)
        return camera

    def stop(self) -> None:
        for camera in self._running:
            camera.stop()


@pytest.fixture(scope="session")
def gstreamer() -> None:
    require_gstreamer()


@pytest.fixture
def cameras(gstreamer: None) -> Iterator[Cameras]:
    made = Cameras()
    yield made
    made.stop()
