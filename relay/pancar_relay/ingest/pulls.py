"""When each camera is pulled: the state machine of all cameras of a relay, driven by `ingest.cameras`. Pure.

Driving contract: every call takes `now` (monotonic seconds, never running backwards) and returns commands, which the
caller performs in order before its next call. `advance` is called no later than `deadline()`. Each `Pull` is answered
by at most one `started` and then at most one `ended`, unless a `Stop` or `Close` of that camera comes first: what the
engine says of a pull after that is not passed on.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from pancar_relay.desired import Assignment, CameraKey, Source
from pancar_relay.ingest.faults import PROMPT, Fault, Pace, describe

# Pulls between their start and their first key frame: beyond this a batch of cameras would crowd out itself.
CONNECTING_LIMIT = 16
# The first connects of a batch are spread over this many seconds a camera, at most `SPREAD_CAP` in all.
SPREAD = 0.02
SPREAD_CAP = 4.0
# Seconds within which the first picture must come, which is a key frame; and where a camera that was given up sends
# pictures and no key frame among them: longer than any camera's are apart (1,023 pictures, at 20 a second).
PICTURE_TIMEOUT = 10.0
KEY_FRAME_TIMEOUT = 60.0
# A pull that lasted this long starts afresh after a fault; a shorter one counts as one more fault in a row.
STABLE = 10.0
PROMPT_WAIT = (0.1, 1.0)


class State(StrEnum):
    WAITING = "Waiting"
    LIVE = "Live"
    OFFLINE = "Offline"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class Status:
    """What a person may know of a camera. `since` is when `state` was entered, on the clock of `now`."""

    state: State
    since: float
    reason: Fault | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """Open a stream for the camera."""

    key: CameraKey


@dataclass(frozen=True, slots=True)
class Close:
    """Close the camera's stream, with its pull and its viewers."""

    key: CameraKey


@dataclass(frozen=True, slots=True)
class Pull:
    """Start a pull that feeds the camera's stream, and give it so many seconds for its first picture."""

    key: CameraKey
    source: Source
    picture_timeout: float = PICTURE_TIMEOUT


@dataclass(frozen=True, slots=True)
class Stop:
    """End the camera's pull; its stream and viewers stay."""

    key: CameraKey


@dataclass(frozen=True, slots=True)
class Changed:
    """What is to be shown of the camera has changed."""

    key: CameraKey


@dataclass(frozen=True, slots=True)
class Gone:
    """The camera is not this relay's any more; comes after its Close."""

    key: CameraKey


Command = Open | Close | Pull | Stop | Changed | Gone


class _Phase(Enum):
    PAUSED = auto()
    QUEUED = auto()
    CONNECTING = auto()
    STREAMING = auto()


@dataclass(slots=True)
class _Camera:
    assignment: Assignment
    status: Status
    phase: _Phase
    # QUEUED: not to be pulled before. STREAMING: since when.
    time: float
    faults_in_a_row: int = 0
    pace: Pace | None = None


class Pulls:
    """All cameras of the desired state."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._cameras: dict[CameraKey, _Camera] = {}

    def assignment(self, key: CameraKey) -> Assignment:
        return self._cameras[key].assignment

    def status(self, key: CameraKey) -> Status:
        return self._cameras[key].status

    def desire(self, assignments: Iterable[Assignment], now: float) -> list[Command]:
        """Takes over a whole desired state; what did not change is left alone."""
        wanted = {assignment.key: assignment for assignment in assignments}
        commands: list[Command] = []
        for key in [key for key in self._cameras if key not in wanted]:
            if self._cameras.pop(key).phase is not _Phase.PAUSED:
                commands.append(Close(key))
            commands.append(Gone(key))
        for key, assignment in wanted.items():
            if key in self._cameras:
                commands += self._reassign(self._cameras[key], assignment, now)
        added = [assignment for key, assignment in wanted.items() if key not in self._cameras]
        spread = min(SPREAD_CAP, SPREAD * (len(added) - 1))
        for assignment in added:
            commands += self._add(assignment, now, self._rng.uniform(0.0, spread))
        return commands + self.advance(now)

    def started(self, key: CameraKey, now: float) -> list[Command]:
        """The camera's pull has brought its first key frame."""
        camera = self._cameras[key]
        camera.phase, camera.time = _Phase.STREAMING, now
        camera.status = Status(State.LIVE, now)
        return [Changed(key), *self.advance(now)]

    def ended(self, key: CameraKey, fault: Fault, now: float) -> list[Command]:
        """The camera's pull is over; it is queued again."""
        camera = self._cameras[key]
        streamed = camera.phase is _Phase.STREAMING
        pace = describe(fault).pace
        if pace is not camera.pace or (streamed and now - camera.time >= STABLE):
            camera.faults_in_a_row = 0
        if streamed and fault in PROMPT and camera.faults_in_a_row == 0:
            wait = self._rng.uniform(*PROMPT_WAIT)
        else:
            doubled = pace.first * 2.0 ** min(camera.faults_in_a_row, 16)
            wait = min(pace.cap, doubled) * self._rng.uniform(0.5, 1.0)
        camera.pace = pace
        camera.faults_in_a_row += 1
        camera.phase, camera.time = _Phase.QUEUED, now + wait
        old = camera.status
        since = old.since if old.state is State.OFFLINE else now
        camera.status = Status(State.OFFLINE, since, fault, describe(fault).message)
        changed: list[Command] = [Changed(key)] if camera.status != old else []
        return changed + self.advance(now)

    def advance(self, now: float) -> list[Command]:
        """Starts what is due, earliest first, as far as the ramp allows."""
        free = self._free()
        if free <= 0:
            return []
        due = [c for c in self._cameras.values() if c.phase is _Phase.QUEUED and c.time <= now]
        due.sort(key=lambda camera: camera.time)
        commands: list[Command] = []
        for camera in due[:free]:
            camera.phase = _Phase.CONNECTING
            timeout = KEY_FRAME_TIMEOUT if _awaits_key_frame(camera) else PICTURE_TIMEOUT
            commands.append(Pull(camera.assignment.key, camera.assignment.source, timeout))
        return commands

    def deadline(self) -> float | None:
        """When to call `advance` next, if nothing else happens before."""
        if self._free() <= 0:
            return None
        return min((c.time for c in self._cameras.values() if c.phase is _Phase.QUEUED), default=None)

    def _free(self) -> int:
        connecting = (c for c in self._cameras.values() if c.phase is _Phase.CONNECTING)
        # Who is waited for so long holds up nobody else.
        return CONNECTING_LIMIT - sum(not _awaits_key_frame(camera) for camera in connecting)

    def _add(self, assignment: Assignment, now: float, delay: float) -> list[Command]:
        key = assignment.key
        if assignment.paused:
            self._cameras[key] = _Camera(assignment, _paused(assignment, now), _Phase.PAUSED, now)
            return [Changed(key)]
        self._cameras[key] = _Camera(assignment, Status(State.WAITING, now), _Phase.QUEUED, now + delay)
        return [Open(key), Changed(key)]

    def _reassign(self, camera: _Camera, new: Assignment, now: float) -> list[Command]:
        old, key = camera.assignment, new.key
        if new == old:
            return []
        camera.assignment = new
        if new.paused:
            since = camera.status.since if old.paused else now
            camera.phase, camera.status = _Phase.PAUSED, _paused(new, since)
            # A pause for privacy closes the stream, so that no picture from before it is left to be shown.
            return [Changed(key)] if old.paused else [Close(key), Changed(key)]
        if old.paused:
            return self._add(new, now, 0.0)
        # A session that the camera has let in outlives new credentials, which are for its next one: nobody who watches
        # shall notice that a password was rotated.
        admitted = camera.phase is _Phase.STREAMING and _stream(new.source) == _stream(old.source)
        if new.source == old.source or admitted:
            return [Changed(key)]
        pulling = camera.phase in (_Phase.CONNECTING, _Phase.STREAMING)
        camera.phase, camera.time, camera.faults_in_a_row = _Phase.QUEUED, now, 0
        camera.status = Status(State.WAITING, now)
        return [Stop(key), Changed(key)] if pulling else [Changed(key)]


def _stream(source: Source) -> tuple[str, str]:
    return source.url, source.transport


def _paused(assignment: Assignment, since: float) -> Status:
    return Status(State.PAUSED, since, message=assignment.paused_reason or "Paused by the camera's owner.")


def _awaits_key_frame(camera: _Camera) -> bool:
    return camera.status.reason is Fault.NO_KEY_FRAME
