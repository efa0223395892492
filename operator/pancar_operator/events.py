"""What befalls cameras and pools, told as Events: each once, and in one sentence if it befalls many cameras. Pure.

`statuses` says what was told of a camera and what is to be told now, and posts what `Gathering` lets go of. The
sentences are for whoever runs `kubectl describe`; a camera's faults keep the reasons that its conditions have.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from pancar_proto.logs import redact

from pancar_operator.model import API_VERSION, Key, Why
from pancar_operator.status import ALARMING, BECAUSE
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, Truth

COMPONENT: Final = "pancar-operator"

# The same change of more cameras than MANY within GATHER seconds is told of their pool, as one. While more come, the
# sentence waits for them, but not for longer than LAST_GATHER.
MANY: Final = 20
GATHER: Final = 5.0
LAST_GATHER: Final = 30.0
NAMED: Final = 3
# The same is not told again of an object for so long; how often it would have been, is counted.
AGAIN: Final = 600.0
# Beyond that, when the API server takes none, the oldest are dropped.
WAITING_MAX: Final = 1000

_LOOKED_AT: Final = {"Placed", "Connected", "Paused"}
_NAME_MAX: Final = 230
_MESSAGE_MAX: Final = 1024


class Told(NamedTuple):
    """What people were last told of a camera."""

    relay: str | None = None
    # Why it is on none.
    unplaced: str = ""
    # Why it is not connected; "" where it is, None where nobody knows.
    fault: str | None = None
    paused: bool = False


class Change(NamedTuple):
    """What befell a camera; `alike` says the same of several cameras."""

    reason: str
    message: str
    alike: str
    warning: bool = False

    @property
    def same(self) -> str:
        """What makes it the same as another of its object: a warning may quote a camera, in other words each time."""
        return self.reason if self.warning else self.message


class Named(NamedTuple):
    """An object: another one may come that has the name of one that went."""

    key: Key
    uid: str


class Event(NamedTuple):
    """One to be posted."""

    kind: str
    of: Named
    reason: str
    message: str
    warning: bool
    # How often it happened, in so many seconds.
    times: int = 1
    spans: float = 0.0


def told(status: CameraStatus) -> Told | None:
    """What a written status tells; None where nothing was written."""
    return changes(None, status)[1] if {condition.type for condition in status.conditions} >= _LOOKED_AT else None


def changes(before: Told | None, status: CameraStatus) -> tuple[list[Change], Told]:
    """What befell a camera since `before`, and what has been told then. What became Unknown is no news."""
    was = before or Told()
    conditions = {condition.type: condition for condition in status.conditions}
    placed, connected, pausing = conditions["Placed"], conditions["Connected"], conditions["Paused"]
    found = []
    relay, unplaced, fault = was.relay, was.unplaced, was.fault
    if placed.status is Truth.TRUE:
        if status.relay != was.relay:
            found.append(_placed(was.relay, placed.reason, status))
        relay, unplaced = status.relay, ""
    # A relay that is not there yet is no news, but one that is there no more.
    elif placed.status is Truth.FALSE or was.relay is not None:
        if placed.reason != was.unplaced:
            found.append(Change(placed.reason, placed.message, placed.message, warning=True))
        relay, unplaced, fault = None, placed.reason, None
    paused = pausing.status is Truth.TRUE
    if paused != was.paused:
        found.append(_paused(pausing.message) if paused else _RESUMED)
    if paused:
        fault = None
    elif connected.status is Truth.TRUE:
        if fault:
            found.append(_CONNECTED)
        fault = ""
    elif connected.status is Truth.FALSE and placed.status is Truth.TRUE:
        if connected.reason != fault:
            found.append(Change(connected.reason, connected.message, connected.message, warning=True))
        fault = connected.reason
    return found, Told(relay, unplaced, fault, paused)


_CONNECTED: Final = Change("Connected", "The camera is connected again.", "connected again.")
_RESUMED: Final = Change("Resumed", "The camera is no longer paused for privacy.", "no longer paused for privacy.")


def _paused(why: str) -> Change:
    return Change("Paused", f"Paused for privacy: {why}", f"paused for privacy: {why}")


def _placed(source: str | None, why: str, status: CameraStatus) -> Change:
    if source is None:
        where = f"RelayPool {status.pool}"
        return Change("Placed", f"Placed on relay {status.relay} of {where}.", f"placed on the relays of {where}.")
    # Told late, after it was on none for a moment.
    because = f"{'in between ' if why == Why.NEW else ''}{BECAUSE[Why(why)]} ({why})."
    return Change(
        "Moved",
        f"Moved from relay {source} to relay {status.relay}: {because}",
        f"moved from relay {source} to others: {because}",
    )


def pool_changes(before: RelayPoolStatus, after: RelayPoolStatus) -> Iterator[Change]:
    """What befell a pool: conditions that came to hold or ceased to, and new reasons why it is not ready."""
    was = {condition.type: condition for condition in before.conditions}
    for condition in after.conditions:
        old, ready = was.get(condition.type), condition.type == "Ready"
        if condition.status is Truth.UNKNOWN or (old is None and not ready):
            continue
        if old is None or old.status is not condition.status or (ready and old.reason != condition.reason):
            yield Change(condition.reason, condition.message, condition.message, condition.reason in ALARMING)


@dataclass(slots=True)
class _Alike:
    """Cameras that the same befell."""

    change: Change
    since: float
    last: float
    cameras: dict[Named, Change] = field(default_factory=dict)

    @property
    def closes(self) -> float:
        first = self.since + GATHER
        return first if len(self.cameras) <= MANY else max(first, min(self.last + GATHER, self.since + LAST_GATHER))


class _Last(NamedTuple):
    """When something was told last of an object, and how often it was kept back since."""

    at: float
    kept: int


class Gathering:
    """Waits for others alike, then lets Events go. The clock is the caller's, in seconds."""

    def __init__(self) -> None:
        self._alike: dict[tuple[Named | None, str, str], _Alike] = {}
        # Of an object's uid, and what is the same.
        self._last: dict[tuple[str, str], _Last] = {}
        self._ready: deque[Event] = deque(maxlen=WAITING_MAX)
        self._pruned = 0.0

    def camera(self, camera: Named, pool: Named | None, change: Change, now: float) -> None:
        """Something befell a camera; `pool` is told if it befell many, one of them if there is none."""
        alike = self._alike.setdefault((pool, change.reason, change.alike), _Alike(change, now, now))
        alike.cameras[camera] = change
        alike.last = now

    def pool(self, pool: Named, change: Change, now: float) -> None:
        self._once("RelayPool", pool, change, now)

    def waiting(self, now: float) -> bool:
        """Whether `take` has one."""
        for (pool, _, _), alike in list(self._alike.items()):
            if alike.closes <= now:
                del self._alike[pool, alike.change.reason, alike.change.alike]
                self._close(pool, alike, now)
        return bool(self._ready)

    def take(self) -> Event:
        return self._ready.popleft()

    def again(self, event: Event) -> None:
        """It could not be posted, and may be later."""
        if len(self._ready) < WAITING_MAX:
            self._ready.appendleft(event)

    def wait(self, now: float) -> float | None:
        """Seconds until another one is let go of."""
        return max(0.0, min(alike.closes for alike in self._alike.values()) - now) if self._alike else None

    def _close(self, pool: Named | None, alike: _Alike, now: float) -> None:
        if len(alike.cameras) <= MANY:
            for camera, change in alike.cameras.items():
                self._once("Camera", camera, change, now)
            return
        told = _Last(now, 0)
        self._last.update({(camera.uid, change.same): told for camera, change in alike.cameras.items()})
        cameras = sorted(alike.cameras)
        message = f"{len(cameras)} cameras ({_names(cameras)}): {alike.change.alike}"
        kind, of = ("Camera", cameras[0]) if pool is None else ("RelayPool", pool)
        # Many cameras are news each time.
        self._ready.append(Event(kind, of, alike.change.reason, message, alike.change.warning))

    def _once(self, kind: str, of: Named, change: Change, now: float) -> None:
        same = of.uid, change.same
        last = self._last.get(same)
        if last is not None and now - last.at < AGAIN:
            self._last[same] = last._replace(kept=last.kept + 1)
            return
        kept, spans = (last.kept, now - last.at) if last is not None and last.kept else (0, 0.0)
        self._last[same] = _Last(now, 0)
        self._ready.append(Event(kind, of, change.reason, change.message, change.warning, kept + 1, spans))
        self._prune(now)

    def _prune(self, now: float) -> None:
        if now - self._pruned > AGAIN:
            self._pruned = now
            self._last = {same: last for same, last in self._last.items() if now - last.at < 6 * AGAIN}


def _names(cameras: Sequence[Named]) -> str:
    return ", ".join(str(camera.key) for camera in cameras[:NAMED]) + (", …" if len(cameras) > NAMED else "")


def body(event: Event, now: datetime, instance: str) -> dict[str, Any]:
    """The core/v1 Event: the newer API counts nothing in an Event of which there is one only."""
    (namespace, name), uid = event.of
    first = now - timedelta(seconds=event.spans)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:_NAME_MAX]}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": event.kind,
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": redact(event.message)[:_MESSAGE_MAX],
        "count": event.times,
        "firstTimestamp": _stamp(first),
        "lastTimestamp": _stamp(now),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
    }


def _stamp(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")
