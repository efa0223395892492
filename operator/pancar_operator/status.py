"""What people read of cameras and pools: conditions from the plan and from relays' reports, and the status they make.

Pure: `reconcile` asks for conditions, `statuses` for what is to be written. Every condition has a reason, and a message
that names the cause and who has to mend it.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from pancar_operator.model import Assignment, Camera, CameraObject, Key, Pod, PoolObject, Refused, RelayPool, Why
from pancar_operator.plan import Emptying, Plan, Unplaced, WhyNot
from pancar_operator.report import CameraState, Report, Video
from pancar_operator.specs import POOL_LABEL
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, StatusCondition, Truth, VideoStatus

_REASON: Final = re.compile("[A-Z][A-Za-z0-9]{0,127}")
_MESSAGE_MAX: Final = 4096
_PIXELS_MAX: Final = 65_535
_FPS_MAX: Final = 1000
_NAMED: Final = 3


class Condition(NamedTuple):
    """One condition in Kubernetes' sense."""

    status: Truth
    reason: str
    message: str = ""


_NOT_PLANNED: Final = Condition(Truth.UNKNOWN, "NotPlanned")


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
    # metadata.generation of the camera that its relay spoke of; 0 where none did, and on one machine.
    generation: int = 0

    @property
    def phase(self) -> Phase:
        if self.paused.status is Truth.TRUE:
            return Phase.PAUSED
        if self.ready.status is Truth.TRUE:
            return Phase.LIVE
        return Phase.WAITING if self.ready.status is Truth.UNKNOWN else Phase.OFFLINE


# Thousands of cameras are in the same state.
_alike: Final = lru_cache(maxsize=1000)(Conditions)

# Why a camera is on its relay, as half a sentence.
BECAUSE: Final[Mapping[Why, str]] = {
    Why.NEW: "it was on no relay",
    Why.RELAY_GONE: "the relay it was on is gone",
    Why.RELAY_DRAINING: "the relay it was on is being emptied",
    Why.RELAY_FULL: "the relay it was on has no room for it any more",
    Why.POOL_CHANGED: "it, or the relay it was on, now belongs to another pool",
    Why.SCALE_IN: "its pool needs fewer relays",
    Why.ROLLED: "the relay it was on is being replaced by an up-to-date one",
    Why.BALANCED: "another relay had less to do, and no picture had come yet",
}

# Reasons of a pool's conditions, where somebody has to mend it.
ALARMING: Final = frozenset({"Failed", "NotScheduled"})

_NOT_PLACED: Final[Mapping[WhyNot, str]] = {
    WhyNot.POOL_NOT_FOUND: "There is no RelayPool {pool}. Whoever declares the camera mends spec.poolRef.",
    WhyNot.NAMESPACE_NOT_TAKEN: "RelayPool {pool} takes no cameras of namespace {namespace}. Whoever declares the pool "
    "adds the namespace, or the camera names another pool.",
    WhyNot.NO_RELAY: "No relay of RelayPool {pool} is attached yet.",
    WhyNot.NO_CAPACITY: "All relays of RelayPool {pool} are full. Whoever runs Pancar adds a relay or raises "
    "spec.capacity.cameras.",
    WhyNot.NO_BANDWIDTH: "All relays of RelayPool {pool} that have room for cameras send as much as they may. Whoever "
    "runs Pancar adds a relay or raises spec.capacity.egressMbps.",
}


def conditions(camera: Camera, plan: Plan, report: Report | None) -> Conditions:
    """The conditions of one camera; a report by another relay than the one it is assigned to counts for nothing."""
    assigned = plan.assignments.get(camera.key)
    if report is not None and (assigned is None or assigned.relay != report.relay):
        report = None
    placed = _placed(camera.key, assigned, plan.unplaced.get(camera.key))
    connected = _connected(placed, report)
    if camera.spec.paused is None:
        paused = Condition(Truth.FALSE, "NotPaused")
        if report is None:
            return _alike(placed, connected, connected, paused)
        return _alike(placed, connected, connected, paused, report.video, report.generation)
    reason = camera.spec.paused.reason
    off = Condition(Truth.FALSE, "Paused", reason)
    return Conditions(placed, off, off, Condition(Truth.TRUE, "Requested", reason))


def refusal(refused: Refused) -> Conditions:
    """The conditions of a camera of which this operator makes nothing."""
    why, message = refused.why.value, refused.message
    not_so = Condition(Truth.FALSE, why, message)
    return Conditions(not_so, not_so, not_so, Condition(Truth.UNKNOWN, why, message))


def _placed(key: Key, assigned: Assignment | None, unplaced: Unplaced | None) -> Condition:
    if assigned is not None:
        return Condition(Truth.TRUE, assigned.why.value)
    if unplaced is None:
        return _NOT_PLANNED
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
    # The API server takes no status with a reason that is more than one word.
    reason = report.reason if _REASON.fullmatch(report.reason) else report.state.value
    return Condition(truth, reason, report.message)


class Place(NamedTuple):
    """Where a camera is, as people know it."""

    pool: str | None = None
    relay: str | None = None


def camera_status(told: Conditions, given: CameraObject, place: Place, now: datetime) -> CameraStatus:
    """What is to be written, `now` where a condition's status is another than written.

    Connected and Ready speak of the generation that the relay reported; `kubectl wait` goes by that.
    """
    newest = given.generation
    reported = min(told.generation, newest) if told.generation else newest
    written = {condition.type: condition for condition in given.status.conditions}
    made = (
        _condition("Placed", told.placed, newest, written, now),
        _condition("Connected", told.connected, reported, written, now),
        _condition("Ready", told.ready, reported, written, now),
        _condition("Paused", told.paused, newest, written, now),
    )
    return CameraStatus(
        observed_generation=newest,
        conditions=made,
        pool=place.pool,
        relay=place.relay,
        video=None if told.video is None else _video(told.video),
    )


def _condition(
    kind: str, told: Condition, generation: int, written: Mapping[str, StatusCondition], now: datetime
) -> StatusCondition:
    before = written.get(kind)
    message = told.message[:_MESSAGE_MAX]
    if before is not None and _gist(before) == (told.status, told.reason, message, generation):
        return before
    since = before.last_transition_time if before and before.status is told.status else now
    return _stated(kind, told.status, told.reason, message, since, generation)


# Thousands of cameras say the same in the same second.
@lru_cache(maxsize=10_000)
def _stated(
    kind: str, status: Truth, reason: str, message: str, since: datetime, generation: int | None
) -> StatusCondition:
    return StatusCondition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )


def _gist(condition: StatusCondition) -> tuple[Truth, str, str, int | None]:
    """What a condition says, but for the time."""
    return condition.status, condition.reason, condition.message, condition.observed_generation


@lru_cache(maxsize=1000)
def _video(video: Video) -> VideoStatus:
    return VideoStatus(
        codec=video.codec[:32],
        profile=video.profile_level_id[:32],
        width=min(video.width, _PIXELS_MAX),
        height=min(video.height, _PIXELS_MAX),
        fps=video.fps if video.fps is not None and 0 < video.fps < _FPS_MAX else None,
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """What there is of a pool's relays, and what hinders it."""

    pods: Sequence[Pod] = ()
    # Relays, by uid, that have attached.
    attached: Container[str] = frozenset()
    # Of which revision a new pod would be; empty where nobody knows.
    revision: str = ""
    # What keeps it from being as wanted, for a person.
    trouble: str = ""

    @property
    def serving(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.ready and not pod.deleting and pod.uid in self.attached]

    @property
    def outdated(self) -> list[Pod]:
        return [pod for pod in self.pods if self.revision and pod.revision and pod.revision != self.revision]


def pool_status(pool: RelayPool, given: PoolObject, fleet: Fleet, plan: Plan, now: datetime) -> RelayPoolStatus:
    """What is to be written, `now` where a condition's status is another than written."""
    wanted = plan.wanted.get(pool.key)
    told = {
        "Ready": _ready(pool.key, fleet, wanted),
        "Scaled": _scaled(pool, fleet, plan, wanted),
        "UpToDate": _up_to_date(fleet),
    }
    written = {condition.type: condition for condition in given.status.conditions}
    return RelayPoolStatus(
        observed_generation=given.generation,
        conditions=tuple(_condition(kind, each, given.generation, written, now) for kind, each in told.items()),
        replicas=len(fleet.pods),
        ready_replicas=sum(1 for pod in fleet.pods if pod.ready),
        selector=f"{POOL_LABEL}={pool.key.name}",
    )


def _ready(key: Key, fleet: Fleet, wanted: int | None) -> Condition:
    if wanted is None:
        return _NOT_PLANNED
    if wanted == 0:
        return Condition(Truth.TRUE, "NoneWanted", "The pool shall have no relays.")
    serving = len(fleet.serving)
    lacking = wanted - serving
    if lacking <= 0:
        message = "Its one relay serves." if wanted == 1 else f"All {wanted} relays serve."
        return Condition(Truth.TRUE, "Serving", message)
    # A roll takes one relay at a time, and its cameras have moved before.
    if lacking == 1 and serving and (fleet.outdated or any(pod.deleting for pod in fleet.pods)):
        return Condition(Truth.TRUE, "Replacing", f"{serving} of {_relays(wanted)} serve; one is being replaced.")
    reason, why = ("Failed", fleet.trouble) if fleet.trouble else _lacking(key, fleet)
    return Condition(Truth.FALSE, reason, f"{serving} of {_relays(wanted)} serve. {why}")


def _lacking(key: Key, fleet: Fleet) -> tuple[str, str]:
    """The first of what keeps relays from serving that somebody may have to mend."""
    homeless = [pod.name for pod in fleet.pods if not pod.node]
    if homeless:
        look = f"kubectl describe pod --namespace {key.namespace} {homeless[0]}"
        return "NotScheduled", f"No node takes {_names(homeless)}; `{look}` says why."
    silent = [pod.name for pod in fleet.pods if pod.ready and not pod.deleting and pod.uid not in fleet.attached]
    if silent:
        look = f"kubectl logs --namespace {key.namespace} {silent[0]}"
        return "NotAttached", f"The operator has not heard of {_names(silent)} yet; if this lasts, see `{look}`."
    starting = [pod.name for pod in fleet.pods if not pod.ready and not pod.deleting]
    if starting:
        look = f"kubectl describe pod --namespace {key.namespace} {starting[0]}"
        return "Starting", f"Not ready yet: {_names(starting)}; if this lasts, see `{look}`."
    return "Starting", "The others are being made."


def _scaled(pool: RelayPool, fleet: Fleet, plan: Plan, wanted: int | None) -> Condition:
    if wanted is None:
        return _NOT_PLANNED
    emptied = [pod.name for pod in fleet.pods if plan.emptying.get(pod.uid) is Emptying.SCALE_IN]
    there = len(fleet.pods)
    if emptied:
        message = f"From {there} relays to {wanted}; being emptied first: {_names(emptied)}."
        return Condition(Truth.FALSE, "ScalingIn", message)
    if there != wanted:
        reason = "ScalingOut" if there < wanted else "ScalingIn"
        return Condition(Truth.FALSE, reason, f"From {_relays(there)} to {wanted}.")
    full = (WhyNot.NO_CAPACITY, WhyNot.NO_BANDWIDTH)
    if any(unplaced.pool == pool.key and unplaced.why in full for unplaced in plan.unplaced.values()):
        bounds = pool.spec.autoscaling
        field = "spec.replicas" if bounds is None else "spec.autoscaling.max"
        reason = "TooSmall" if bounds is None else "AtMaximum"
        return Condition(Truth.FALSE, reason, f"Some cameras have no room. Whoever runs Pancar raises {field}.")
    return Condition(Truth.TRUE, "AsWanted", f"It has {_relays(there)}.")


def _up_to_date(fleet: Fleet) -> Condition:
    if fleet.trouble:
        return Condition(Truth.FALSE, "Failed", fleet.trouble)
    if not fleet.revision:
        return Condition(Truth.UNKNOWN, "NotKnown")
    outdated = len(fleet.outdated)
    if not outdated:
        return Condition(Truth.TRUE, "AllReplaced", "No relay is of an older template.")
    message = f"{outdated} of {_relays(len(fleet.pods))} are of an older template; one after the other is replaced."
    return Condition(Truth.FALSE, "Rolling", message)


def _relays(count: int) -> str:
    return f"{count} relay{'' if count == 1 else 's'}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def says(written: CameraStatus | RelayPoolStatus, wanted: CameraStatus | RelayPoolStatus) -> bool:
    """Whether what is written says all that is wanted; times do not matter, nor do conditions of others."""
    there = {condition.type: condition for condition in written.conditions}
    for condition in wanted.conditions:
        old = there.get(condition.type)
        if old is not condition and (old is None or _gist(old) != _gist(condition)):
            return False
    return all(getattr(written, name) == getattr(wanted, name) for name in _BESIDE[type(wanted)])


_BESIDE: Final = {
    kind: tuple(field.name for field in fields(kind) if field.name != "conditions")
    for kind in (CameraStatus, RelayPoolStatus)
}
