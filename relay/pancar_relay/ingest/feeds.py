"""Performs on the engine what `ingest.pulls` decides: a stream a camera, and the pull that feeds it.

`ingest.cameras` has one for the cameras' main streams and one for their subs. Runs in the event loop's thread alone.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from pancar_relay._engine import Engine, PullEnded, PullStarted, Video, VideoChanged
from pancar_relay.desired import Assignment, CameraKey, Source
from pancar_relay.ingest.faults import Fault
from pancar_relay.ingest.pulls import Changed, Close, Command, Gone, Open, Pull, Pulls, Status, Stop

CONNECT_TIMEOUT = 10.0
# With the player's own clock this keeps a frozen picture from looking live for longer than 5 s.
STALL_TIMEOUT = 4.0

Listener = Callable[[CameraKey], None]


@dataclass(slots=True)
class Feed:
    """A camera's stream in the engine; `video` is what it last carried, `pull` what feeds it now."""

    stream: int
    pull: int | None = None
    video: Video | None = None


class Feeds:
    """Keeps every camera it is given pulled. `changed` and `gone` are called with the key of each of which that is
    so."""

    def __init__(self, engine: Engine, name: str, *, changed: Listener, gone: Listener) -> None:
        """`name` tells its log lines from those of others."""
        self._engine = engine
        self._changed, self._gone = changed, gone
        self._pulls = Pulls(random.Random())  # noqa: S311 - jitter, not a secret
        self._feeds: dict[CameraKey, Feed] = {}
        self._streams: dict[int, CameraKey] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger().bind(stream=name)
        # How often each camera failed, and how.
        self.faults: dict[tuple[CameraKey, Fault], int] = {}

    def desire(self, assignments: Iterable[Assignment]) -> None:
        self._perform(self._pulls.desire(assignments, time.monotonic()))

    def assignment(self, key: CameraKey) -> Assignment:
        return self._pulls.assignment(key)

    def status(self, key: CameraKey) -> Status:
        return self._pulls.status(key)

    def feed(self, key: CameraKey) -> Feed | None:
        """None for a camera that is not its own, or paused."""
        return self._feeds.get(key)

    def on_event(self, event: PullStarted | VideoChanged | PullEnded) -> None:
        """Takes an engine event; one of another's stream, or of a pull already replaced or stopped, says nothing."""
        key = self._streams.get(event.stream)
        feed = self._feeds[key] if key is not None else None
        if key is None or feed is None or feed.pull != event.pull:
            return
        now = time.monotonic()
        match event:
            case PullStarted():
                feed.video = event.video
                self._log.info("camera.live", camera=str(key), codec=event.video.codec, size=_size(event.video))
                self._perform(self._pulls.started(key, now))
            case VideoChanged():
                feed.video = event.video
                self._log.info(
                    "camera.video_changed", camera=str(key), codec=event.video.codec, size=_size(event.video)
                )
                self._perform([Changed(key)])
            case PullEnded():
                feed.pull = None
                fault = self._fault(event.fault)
                self.faults[key, fault] = self.faults.get((key, fault), 0) + 1
                self._log.warning("camera.fault", camera=str(key), reason=str(fault), detail=event.detail)
                self._perform(self._pulls.ended(key, fault, now))

    def close(self) -> None:
        """Stops deciding; the engine's own close ends the pulls."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _perform(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Open(key):
                    feed = self._feeds[key] = Feed(self._engine.open_stream())
                    self._streams[feed.stream] = key
                case Close(key):
                    feed = self._feeds.pop(key)
                    del self._streams[feed.stream]
                    self._engine.close_stream(feed.stream)
                case Pull(key, source, picture_timeout):
                    self._pull(key, source, picture_timeout)
                case Stop(key):
                    self._feeds[key].pull = None
                    self._engine.stop_pull(self._feeds[key].stream)
                case Changed(key):
                    self._changed(key)
                case Gone(key):
                    for counted in [counted for counted in self.faults if counted[0] == key]:
                        del self.faults[counted]
                    self._gone(key)
        self._arm()

    def _pull(self, key: CameraKey, source: Source, picture_timeout: float) -> None:
        feed = self._feeds[key]
        try:
            feed.pull = self._engine.pull(
                feed.stream,
                source.url,
                username=source.username or None,
                password=source.password or None,
                transport=source.transport,
                connect_timeout=CONNECT_TIMEOUT,
                picture_timeout=picture_timeout,
                stall_timeout=STALL_TIMEOUT,
            )
        except ValueError as error:
            # Control refuses such URLs; should one slip through, it is this camera's fault and no other's.
            self._log.error("camera.bad_url", camera=str(key), error=str(error))
            asyncio.get_running_loop().call_soon(self._never_started, key, feed)

    def _never_started(self, key: CameraKey, feed: Feed) -> None:
        if self._feeds.get(key) is feed and feed.pull is None:
            self._perform(self._pulls.ended(key, Fault.UNREACHABLE, time.monotonic()))

    def _fault(self, name: str) -> Fault:
        try:
            return Fault(name)
        except ValueError:
            # An engine newer than this table must not stop ingest.
            self._log.error("camera.unknown_fault", fault=name)
            return Fault.PROTOCOL_ERROR

    def _arm(self) -> None:
        self.close()
        deadline = self._pulls.deadline()
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self._perform(self._pulls.advance(time.monotonic()))


def _size(video: Video) -> str:
    return f"{video.width}x{video.height}"
