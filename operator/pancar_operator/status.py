"""The conditions of a camera from the plan and what its relay reports; pure, called by `reconcile`.

Every condition has a reason, and a message that names the cause and who has to mend it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from pancar_operator.model import Assignment, Camera, CameraState, Key, Report, Truth, Video, Why
from pancar_operator.plan import Plan, Unplaced, WhyNot


class Condition(NamedTuple):
    """One condition in Kubernetes' sense."""

    status: Truth
    reason: str
    message: str = ""


class Phase(StrEnum):
    """A camera's conditions in one word, as people on the wall see them."""

    WAITING = "Waiting"
    LIVE = "Live"
    OFFLINE = "Offline"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for a camera."""

    placed: Condition
    connected: Condition
    ready: Condition
    paused: Condition
    video: Video | None = None

    @property
    def phase(self) -> Phase:
        if self.paused.status is Truth.TRUE:
            return Phase.PAUSED
        if self.ready.status is Truth.TRUE:
            return Phase.LIVE
        return Phase.WAITING if self.ready.status is Truth.UNKNOWN else Phase.OFFLINE


# Why a camera is on its relay, as half a sentence.
BECAUSE: Final[Mapping[Why, str]] = {
    Why.NEW: "it was on no relay",
    Why.RELAY_GONE: "the relay it was on is gone",
    Why.RELAY_DRAINING: "the relay it was on is being emptied",
    Why.RELAY_FULL: "the relay it was on has no room for it any more",
    Why.POOL_CHANGED: "it, or the relay it was on, now belongs to another pool",
}

_NOT_PLACED: Final[Mapping[WhyNot, str]] = {
    WhyNot.POOL_NOT_FOUND: "There is no RelayPool {pool}. Whoever declares the camera mends spec.poolRef.",
    WhyNot.NAMESPACE_NOT_TAKEN: "RelayPool {pool} takes no cameras of namespace {namespace}. Whoever declares the pool "
    "adds the namespace, or the camera names another pool.",
    WhyNot.NO_RELAY: "No relay of RelayPool {pool} is attached yet.",
    WhyNot.NO_CAPACITY: "All relays of RelayPool {pool} are full. Whoever runs Pancar adds a relay or raises "
    "spec.capacity.cameras.",
}


def conditions(camera: Camera, plan: Plan, report: Report | None) -> Conditions:
    """The conditions of one camera; a report by another relay than the one it is assigned to counts for nothing."""
    assigned = plan.assignments.get(camera.key)
    if report is not None and (assigned is None or assigned.relay != report.relay):
        report = None
    placed = _placed(camera.key, assigned, plan.unplaced.get(camera.key))
    connected = _connected(placed, report)
    if camera.spec.paused is None:
        video = None if report is None else report.video
        return Conditions(placed, connected, connected, Condition(Truth.FALSE, "NotPaused"), video)
    reason = camera.spec.paused.reason
    off = Condition(Truth.FALSE, "Paused", reason)
    return Conditions(placed, off, off, Condition(Truth.TRUE, "Requested", reason))


def _placed(key: Key, assigned: Assignment | None, unplaced: Unplaced | None) -> Condition:
    if assigned is not None:
        return Condition(Truth.TRUE, assigned.why.value)
    if unplaced is None:
        return Condition(Truth.UNKNOWN, "NotPlanned")
    # A relay that starts is no fault of anybody's.
    truth = Truth.UNKNOWN if unplaced.why is WhyNot.NO_RELAY else Truth.FALSE
    message = _NOT_PLACED[unplaced.why].format(pool=unplaced.pool, namespace=key.namespace)
    return Condition(truth, unplaced.why.value, message)


def _connected(placed: Condition, report: Report | None) -> Condition:
    if placed.status is not Truth.TRUE:
        return placed
    if report is None:
        return Condition(Truth.UNKNOWN, "Waiting", "The relay has not reported the camera yet.")
    if report.state is CameraState.LIVE:
        return Condition(Truth.TRUE, "Live")
    truth = Truth.FALSE if report.state is CameraState.OFFLINE else Truth.UNKNOWN
    return Condition(truth, report.reason or report.state.value, report.message)
