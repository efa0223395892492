"""The cameras of this relay as they are, each with its main stream and, while somebody needs it, its sub.

Control hands in the desired state, `__main__` the engine's events; the wall, WHEP, metrics and control read `View`s.
Runs in the event loop's thread alone.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pancar_relay._engine import Engine, PullEnded, PullStarted, Video, VideoChanged
from pancar_relay.desired import Assignment, CameraKey
from pancar_relay.ingest.faults import Fault
from pancar_relay.ingest.feeds import Feeds, Listener
from pancar_relay.ingest.pulls import State

# Seconds that a sub nobody needs any more stays pulled: who resizes his wall comes back to it.
LINGER = 10.0


@dataclass(frozen=True, slots=True)
class Layer:
    """A stream of a camera that viewers can be sent now."""

    stream: int
    video: Video


@dataclass(frozen=True, slots=True)
class View:
    """A camera at one moment. `since` is seconds since the epoch; `stream` is None while there is none.

    `has_sub` tells whether there is a sub to be pulled, `sub` is what it is now: None while nobody needs it, and
    while it brings no pictures.
    """

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
    has_sub: bool = False
    sub: Layer | None = None


class Cameras:
    """Keeps every assigned camera pulled. Listeners are called with the key of each camera that changed or went."""

    def __init__(self, engine: Engine) -> None:
        self._mains = Feeds(engine, "main", changed=self._changed, gone=self._gone)
        self._subs = Feeds(engine, "sub", changed=self._sub_changed, gone=self._sub_changed)
        self._views: dict[CameraKey, View] = {}
        self._entered: dict[CameraKey, tuple[float, float]] = {}
        self._listeners: list[Listener] = []
        self._assigned: dict[CameraKey, Assignment] = {}
        # Who needs the sub of each camera, counted; and those whose last need has just ended.
        self._needs: Counter[CameraKey] = Counter()
        self._lingering: dict[CameraKey, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._views)

    @property
    def faults(self) -> dict[tuple[CameraKey, Fault], int]:
        """How often each camera's main stream failed, and how."""
        return self._mains.faults

    def desire(self, assignments: Iterable[Assignment]) -> None:
        self._assigned = {assignment.key: assignment for assignment in assignments}
        self._mains.desire(self._assigned.values())
        self._desire_subs()

    def view(self, key: CameraKey) -> View | None:
        return self._views.get(key)

    def views(self) -> list[View]:
        """All cameras, sorted by namespace and name."""
        return [self._views[key] for key in sorted(self._views)]

    def need_sub(self, key: CameraKey) -> Callable[[], None]:
        """Has the camera's sub pulled, where it has one, until the returned function is called; once is enough."""
        self._needs[key] += 1
        if timer := self._lingering.pop(key, None):
            timer.cancel()
        elif self._needs[key] == 1:
            self._desire_subs()
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._release_sub(key)

        return release

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` on each change until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_event(self, event: PullStarted | VideoChanged | PullEnded) -> None:
        """Takes an engine event; one of a pull already replaced or stopped says nothing any more."""
        self._mains.on_event(event)
        self._subs.on_event(event)

    def close(self) -> None:
        """Stops deciding; the engine's own close ends the pulls."""
        self._mains.close()
        self._subs.close()
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()

    def _release_sub(self, key: CameraKey) -> None:
        self._needs[key] -= 1
        if not self._needs[key]:
            del self._needs[key]
            self._lingering[key] = asyncio.get_running_loop().call_later(LINGER, self._let_go, key)

    def _let_go(self, key: CameraKey) -> None:
        del self._lingering[key]
        self._desire_subs()

    def _desire_subs(self) -> None:
        needed = (self._assigned.get(key) for key in [*self._needs, *self._lingering])
        self._subs.desire(
            replace(assignment, source=assignment.sub, sub=None)
            for assignment in needed
            if assignment is not None and assignment.sub is not None
        )

    def _changed(self, key: CameraKey) -> None:
        self._views[key] = self._look(key)
        self._tell(key)

    def _gone(self, key: CameraKey) -> None:
        self._views.pop(key, None)
        self._entered.pop(key, None)
        self._tell(key)

    def _sub_changed(self, key: CameraKey) -> None:
        if key in self._views:
            self._changed(key)

    def _look(self, key: CameraKey) -> View:
        assignment, status, feed = self._mains.assignment(key), self._mains.status(key), self._mains.feed(key)
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
            has_sub=assignment.sub is not None,
            sub=self._sub(key),
        )

    def _sub(self, key: CameraKey) -> Layer | None:
        feed = self._subs.feed(key)
        if feed is None or feed.video is None or self._subs.status(key).state is not State.LIVE:
            return None
        return Layer(feed.stream, feed.video)

    def _tell(self, key: CameraKey) -> None:
        for listener in list(self._listeners):
            listener(key)
