"""From a plan to what has to be done: `diff(plan, observed)`, pure, called by `reconcile`.

A camera that moves is released first and assigned elsewhere only when no other relay holds it any more, so that it is
never pulled twice; the steps that have to wait come out of a later diff, once the release is acknowledged.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pancar_operator.model import Key, Placement
from pancar_operator.plan import Plan


@dataclass(frozen=True, slots=True)
class Assign:
    """The relay shall begin to pull a camera."""

    relay: str
    camera: Key
    placement: Placement


@dataclass(frozen=True, slots=True)
class Update:
    """What the relay knows of a camera it pulls has changed."""

    relay: str
    camera: Key
    placement: Placement


@dataclass(frozen=True, slots=True)
class Release:
    """The relay shall let go of a camera."""

    relay: str
    camera: Key


Step = Assign | Update | Release


@dataclass(frozen=True, slots=True)
class Holding:
    """One relay: what it shall do by the last steps, and what it may be doing still."""

    desired: Mapping[Key, Placement]
    # Cameras in any state it was sent since the last one it acknowledged, and in that one.
    held: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """What a plan is compared with."""

    declared: Mapping[Key, Placement]
    relays: Mapping[str, Holding]


def diff(plan: Plan, observed: Observed) -> list[Step]:
    """The steps that may be taken now, releases first. Runs over all cameras at every change."""
    releases: list[Step] = []
    updates: list[Step] = []
    # Cameras that another relay than their own has still.
    held_elsewhere: set[Key] = set()
    assigned, declared = plan.assignments, observed.declared
    right = 0
    for uid, holding in observed.relays.items():
        for key, known in holding.desired.items():
            current = assigned.get(key)
            if current is None or current.relay != uid:
                held_elsewhere.add(key)
                releases.append(Release(uid, key))
                continue
            right += 1
            wanted = declared[key]
            if known is not wanted and known != wanted:
                updates.append(Update(uid, key, wanted))
        for key in holding.held.difference(holding.desired):
            current = assigned.get(key)
            if current is None or current.relay != uid:
                held_elsewhere.add(key)
    if right == len(assigned):
        return releases + updates
    return releases + updates + _assigns(plan, observed, held_elsewhere)


def _assigns(plan: Plan, observed: Observed, held_elsewhere: set[Key]) -> list[Step]:
    return [
        Assign(uid, key, observed.declared[key])
        for key, (uid, _) in plan.assignments.items()
        if key not in held_elsewhere and (relay := observed.relays.get(uid)) is not None and key not in relay.desired
    ]
