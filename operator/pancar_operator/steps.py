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
    """The steps that may be taken now, releases first."""
    steps: list[Step] = []
    holders: dict[Key, set[str]] = {}
    for uid, holding in observed.relays.items():
        for key in holding.held.union(holding.desired):
            assigned = plan.assignments.get(key)
            if assigned is None or assigned.relay != uid:
                holders.setdefault(key, set()).add(uid)
                if key in holding.desired:
                    steps.append(Release(uid, key))
    for key, (uid, _) in plan.assignments.items():
        relay = observed.relays.get(uid)
        if relay is None:
            continue
        wanted, known = observed.declared[key], relay.desired.get(key)
        if known is None and key not in holders:
            steps.append(Assign(uid, key, wanted))
        elif known is not None and known is not wanted and known != wanted:
            steps.append(Update(uid, key, wanted))
    return steps
