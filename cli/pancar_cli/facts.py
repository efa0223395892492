"""What a running Pancar knows of its relays and cameras: where each camera is, since when, why, and what befell it.

`pancar up` keeps a `Journal` and tells its `Facts` through the state folder, a cluster tells by its objects
(`written`). `pancar why` and `pancar plan` read them. No credential and no camera's address is among them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from pancar_operator.model import Assignment, Key, Relay, Why
from pancar_operator.observe import Known
from pancar_operator.reconcile import Transition
from pancar_operator.status import Phase

# What befell a camera is kept this far back.
HISTORY: Final = 20


@dataclass(frozen=True, slots=True)
class Happening:
    """What a camera came to be at a moment."""

    at: datetime
    phase: Phase
    # The cause, as the condition Ready has it.
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """An Event of a cluster, as it was told last."""

    at: datetime
    reason: str
    message: str
    # How often it was told, since when.
    times: int = 1
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """One camera; the last of its history is how it is now."""

    assignment: Assignment | None = None
    # When it came to its relay.
    since: datetime | None = None
    history: tuple[Happening, ...] = ()
    # It may have come later than that.
    perhaps_later: bool = False
    # What else somebody who asks why has to know, as sentences.
    notes: tuple[str, ...] = ()
    # In the order of their time.
    events: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """One relay, and where its HTTP side is; empty where nobody knows."""

    relay: Relay
    url: str
    # Empty on one machine.
    node: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of one installation."""

    default_pool: Key
    relays: tuple[RelayFacts, ...] = ()
    cameras: Mapping[Key, CameraFacts] = field(default_factory=dict)

    def as_json(self) -> bytes:
        relays = [
            {
                "uid": each.relay.uid,
                "pool": each.relay.pool,
                "cameras": each.relay.cameras,
                "draining": each.relay.draining,
                "url": each.url,
            }
            for each in self.relays
        ]
        cameras = [{"key": key, **_camera_to_json(camera)} for key, camera in self.cameras.items()]
        return json.dumps({"defaultPool": self.default_pool, "relays": relays, "cameras": cameras}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Facts":
        """Raises ValueError, KeyError or TypeError for what `as_json` did not write."""
        told = json.loads(content)
        relays = (
            RelayFacts(Relay(each["uid"], Key(*each["pool"]), each["cameras"], each["draining"]), each["url"])
            for each in told["relays"]
        )
        cameras = {Key(*each["key"]): _camera_from_json(each) for each in told["cameras"]}
        return cls(Key(*told["defaultPool"]), tuple(relays), cameras)


def _camera_to_json(camera: CameraFacts) -> dict[str, object]:
    return {
        "assignment": camera.assignment,
        "since": camera.since.isoformat() if camera.since else None,
        "history": [(each.at.isoformat(), each.phase, each.reason, each.message) for each in camera.history],
    }


def _camera_from_json(told: Mapping[str, Any]) -> CameraFacts:
    assignment, since = told["assignment"], told["since"]
    return CameraFacts(
        Assignment(assignment[0], Why(assignment[1])) if assignment else None,
        datetime.fromisoformat(since) if since else None,
        tuple(
            Happening(datetime.fromisoformat(at), Phase(phase), reason, message)
            for at, phase, reason, message in told["history"]
        ),
    )


class Journal:
    """Gathers what becomes of the cameras; `now` is asked at each call."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._cameras: dict[Key, CameraFacts] = {}
        self._assignments: Mapping[Key, Assignment] = {}

    def transitions(self, transitions: Iterable[Transition]) -> None:
        """To be called with all of them, in their order."""
        now = self._now()
        for key, _, after in transitions:
            if after is None:
                self._cameras.pop(key, None)
                continue
            camera = self._cameras.get(key, CameraFacts())
            happening = Happening(now, after.phase, after.ready.reason, after.ready.message)
            if not camera.history or replace(camera.history[-1], at=now) != happening:
                self._cameras[key] = replace(camera, history=(*camera.history, happening)[-HISTORY:])

    def assignments(self, assignments: Mapping[Key, Assignment]) -> None:
        """To be called with those of the newest plan, as soon as may be."""
        if assignments is self._assignments:
            return
        self._assignments = assignments
        now = self._now()
        for key, camera in self._cameras.items():
            assignment = assignments.get(key)
            if assignment is not camera.assignment:
                self._cameras[key] = replace(camera, assignment=assignment, since=now if assignment else None)

    def facts(self, known: Known) -> Facts:
        relays = (RelayFacts(each.relay, each.endpoint.http_url) for each in known.relays.values())
        return Facts(known.default_pool, tuple(relays), dict(self._cameras))
