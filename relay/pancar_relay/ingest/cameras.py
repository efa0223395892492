"""The cameras of this relay as they are: performs on the engine what `ingest.pulls` decides, and tells who listens.

Control hands in the desired state, `__main__` the engine's events; the wall, WHEP, metrics and control read `View`s.
Runs in the event loop's thread alone.
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
from pancar_relay.ingest.pulls import Changed, Close, Command, Gone, Open, Pull, Pulls, State, Stop

log = structlog.get_logger()

CONNECT_TIMEOUT = 10.0
# With the player's own clock this keeps a frozen picture from looking live for longer than 5 s.
STALL_TIMEOUT = 4.0


@dataclass(frozen=True, slots=True)
class View:
    """A camera at one moment. `since` is seconds since the epoch; `stream` is None while there is none."""

    key: CameraKey
    title: str
    site: str
    state: State
    reason: Fault | None
    message: str | None
    since: float
    video: Video | None
    stream: int | None
    generation: int


@dataclass(slots=True)
class _Feed:
    stream: int
    pull: int | None = None
    video: Video | None = None


class Cameras:
    """Keeps every assigned camera pulled. Listeners are called with the key of each camera that changed or went."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pulls = Pulls(random.Random())  # noqa: S311 - jitter, not a secret
        self._feeds: dict[CameraKey, _Feed] = {}
        self._streams: dict[int, CameraKey] = {}
        self._views: dict[CameraKey, View] = {}
        self._entered: dict[CameraKey, tuple[float, float]] = {}
        self._listeners: list[Callable[[CameraKey], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.faults: dict[tuple[CameraKey, Fault], int] = {}

    def __len__(self) -> int:
        return len(self._views)

    def desire(self, assignments: Iterable[Assignment]) -> None:
        self._perform(self._pulls.desire(assignments, time.monotonic()))

    def view(self, key: CameraKey) -> View | None:
        return self._views.get(key)

    def views(self) -> list[View]:
        """All cameras, sorted by namespace and name."""
        return [self._views[key] for key in sorted(self._views)]

    def key_of(self, stream: int) -> CameraKey | None:
        return self._streams.get(stream)

    def listen(self, listener: Callable[[CameraKey], None]) -> Callable[[], None]:
        """Calls `listener` on each change until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_event(self, event: PullStarted | VideoChanged | PullEnded) -> None:
        """Takes an engine event; one of a pull already replaced or stopped says nothing any more."""
        key = self._streams.get(event.stream)
        feed = self._feeds[key] if key is not None else None
        if key is None or feed is None or feed.pull != event.pull:
            return
        now = time.monotonic()
        match event:
            case PullStarted():
                feed.video = event.video
                log.info("camera.live", camera=str(key), codec=event.video.codec, size=_size(event.video))
                self._perform(self._pulls.started(key, now))
            case VideoChanged():
                feed.video = event.video
                log.info("camera.video_changed", camera=str(key), codec=event.video.codec, size=_size(event.video))
                self._perform([Changed(key)])
            case PullEnded():
                feed.pull = None
                fault = _fault(event.fault)
                self.faults[key, fault] = self.faults.get((key, fault), 0) + 1
                log.warning("camera.fault", camera=str(key), reason=str(fault), detail=event.detail)
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
                    feed = self._feeds[key] = _Feed(self._engine.open_stream())
                    self._streams[feed.stream] = key
                case Close(key):
                    feed = self._feeds.pop(key)
                    del self._streams[feed.stream]
                    self._engine.close_stream(feed.stream)
                case Pull(key, source):
                    self._pull(key, source)
                case Stop(key):
                    self._feeds[key].pull = None
                    self._engine.stop_pull(self._feeds[key].stream)
                case Changed(key):
                    self._views[key] = self._look(key)
                    self._tell(key)
                case Gone(key):
                    self._forget(key)
                    self._tell(key)
        self._arm()

    def _pull(self, key: CameraKey, source: Source) -> None:
        feed = self._feeds[key]
        try:
            feed.pull = self._engine.pull(
                feed.stream,
                source.url,
                username=source.username or None,
                password=source.password or None,
                transport=source.transport,
                connect_timeout=CONNECT_TIMEOUT,
                stall_timeout=STALL_TIMEOUT,
            )
        except ValueError as error:
            # Control refuses such URLs; should one slip through, it is this camera's fault and no other's.
            log.error("camera.bad_url", camera=str(key), error=str(error))
            asyncio.get_running_loop().call_soon(self._never_started, key, feed)

    def _never_started(self, key: CameraKey, feed: _Feed) -> None:
        if self._feeds.get(key) is feed and feed.pull is None:
            self._perform(self._pulls.ended(key, Fault.UNREACHABLE, time.monotonic()))

    def _look(self, key: CameraKey) -> View:
        assignment, status, feed = self._pulls.assignment(key), self._pulls.status(key), self._feeds.get(key)
        entered = self._entered.get(key)
        if entered is None or entered[0] != status.since:
            entered = self._entered[key] = (status.since, time.time())
        return View(
            key=key,
            title=assignment.title or key.name,
            site=assignment.site,
            state=status.state,
            reason=status.reason,
            message=status.message,
            since=entered[1],
            video=feed.video if feed else None,
            stream=feed.stream if feed else None,
            generation=assignment.generation,
        )

    def _forget(self, key: CameraKey) -> None:
        self._views.pop(key, None)
        self._entered.pop(key, None)
        for counted in [counted for counted in self.faults if counted[0] == key]:
            del self.faults[counted]

    def _tell(self, key: CameraKey) -> None:
        for listener in list(self._listeners):
            listener(key)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._pulls.deadline()
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self._perform(self._pulls.advance(time.monotonic()))


def _fault(name: str) -> Fault:
    try:
        return Fault(name)
    except ValueError:
        # An engine newer than this table must not stop ingest.
        log.error("camera.unknown_fault", fault=name)
        return Fault.PROTOCOL_ERROR


def _size(video: Video) -> str:
    return f"{video.width}x{video.height}"
