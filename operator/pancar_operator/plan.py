"""Which relay pulls which camera: `plan(snapshot)`, pure, called by `reconcile` and by whoever asks "what if".

Placement is sticky: a camera stays where it is while its relay is there, in the right pool, not draining and not over
capacity; it keeps its very `Assignment` then, so that what did not change is told by identity. What has to be placed
goes to the first relay after it on a hash ring, unless that one has its share of the load already; what is left after
that fills the relays with the least load. So load is even, and even a plan from nothing puts most cameras where the
last one did. Where there is too little room, cameras are served in the order of their names. Each camera left over
carries its reason.
"""

import struct
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import shake_128
from heapq import heapify, heapreplace
from typing import Final, NamedTuple

from pancar_operator.model import Assignment, Camera, Key, Relay, RelayPool, Snapshot, Why

# Points on the ring of a relay of its pool's full capacity: the more, the more cameras find their first relay open.
_POINTS: Final = 32


class WhyNot(StrEnum):
    """Why a camera is on no relay."""

    POOL_NOT_FOUND = "PoolNotFound"
    NAMESPACE_NOT_TAKEN = "NamespaceNotTaken"
    NO_RELAY = "NoRelay"
    NO_CAPACITY = "NoCapacity"


class Unplaced(NamedTuple):
    why: WhyNot
    pool: Key


class Move(NamedTuple):
    camera: Key
    source: str
    target: str
    why: Why


@dataclass(frozen=True, slots=True)
class Plan:
    """Every camera of the snapshot is in exactly one of `assignments` and `unplaced`."""

    assignments: Mapping[Key, Assignment] = field(default_factory=dict)
    unplaced: Mapping[Key, Unplaced] = field(default_factory=dict)
    # In the order of the cameras' names.
    moves: tuple[Move, ...] = ()


def plan(snapshot: Snapshot) -> Plan:
    """The plan for a snapshot; the order of its cameras, pools and relays does not matter."""
    fleets = _fleets(snapshot)
    assignments, unplaced = _gather(snapshot, fleets)
    for fleet in fleets.values():
        if fleet.overfull:
            _turn_out(fleet, assignments)
    moves: list[Move] = []
    pool_of_relay = {relay.uid: relay.pool for relay in snapshot.relays}
    for fleet in fleets.values():
        homeless = sorted(fleet.homeless)
        targets = fleet.take(homeless)
        for key in homeless:
            current = fleet.homeless[key]
            if (target := targets.get(key)) is not None:
                why = _why_moved(current, fleet, pool_of_relay)
                assignments[key] = Assignment(target, why)
                if current is not None:
                    moves.append(Move(key, current.relay, target, why))
            elif current is not None and fleet.keeps(current.relay):
                assignments[key] = current
            else:
                unplaced[key] = Unplaced(WhyNot.NO_CAPACITY if fleet.rooms else WhyNot.NO_RELAY, fleet.pool.key)
    return Plan(assignments, unplaced, tuple(sorted(moves)))


def pool_of(camera: Camera, default: Key) -> Key:
    """The pool that shall pull a camera."""
    ref = camera.spec.pool_ref
    return default if ref is None else Key(ref.namespace or default.namespace, ref.name)


def replicas(pool: RelayPool, cameras: int) -> int:
    """Relays that a pool asks for, to pull so many cameras with its headroom left free."""
    bounds = pool.spec.autoscaling
    if bounds is None:
        return 1 if pool.spec.replicas is None else pool.spec.replicas
    filled = pool.spec.capacity.cameras * (100 - bounds.headroom)
    needed = -(-100 * cameras // filled) if filled else bounds.max
    return min(max(needed, bounds.min), bounds.max)


def capacity(pool: RelayPool, relay: Relay) -> int:
    """Cameras a relay may pull: what its pool allows, or less where it says so itself."""
    allowed = pool.spec.capacity.cameras
    return min(allowed, relay.cameras) if relay.cameras else allowed


def _fleets(snapshot: Snapshot) -> dict[Key, "_Fleet"]:
    members: dict[Key, list[Relay]] = {key: [] for key in snapshot.pools}
    for relay in snapshot.relays:
        if relay.pool in members:
            members[relay.pool].append(relay)
    return {key: _Fleet(pool, members[key]) for key, pool in snapshot.pools.items()}


def _gather(snapshot: Snapshot, fleets: Mapping[Key, "_Fleet"]) -> tuple[dict[Key, Assignment], dict[Key, Unplaced]]:
    """Who stays where he is, and who is taken by no pool; all others become homeless in their pool's fleet.

    Runs over all cameras at every change.
    """
    assignments: dict[Key, Assignment] = {}
    unplaced: dict[Key, Unplaced] = {}
    placed, default = snapshot.placed, snapshot.default_pool
    default_fleet = fleets.get(default)
    for key, camera in snapshot.cameras.items():
        fleet = default_fleet if camera.spec.pool_ref is None else fleets.get(pool_of(camera, default))
        if fleet is None:
            unplaced[key] = Unplaced(WhyNot.POOL_NOT_FOUND, pool_of(camera, default))
        elif key.namespace not in fleet.taken and not fleet.takes(key.namespace):
            unplaced[key] = Unplaced(WhyNot.NAMESPACE_NOT_TAKEN, fleet.pool.key)
        elif (current := placed.get(key)) is not None and (load := fleet.loads.get(current.relay)) is not None:
            fleet.loads[current.relay] = load + 1
            assignments[key] = current
        else:
            fleet.homeless[key] = current
    return assignments, unplaced


def _turn_out(fleet: "_Fleet", assignments: dict[Key, Assignment]) -> None:
    """Makes those homeless whom their relay has no room for any more."""
    residents: dict[str, list[Key]] = {uid: [] for uid in fleet.overfull}
    for key, (uid, _) in assignments.items():
        if uid in residents:
            residents[uid].append(key)
    for uid, keys in residents.items():
        for key in sorted(keys)[fleet.rooms[uid] :]:
            fleet.homeless[key] = assignments.pop(key)
        fleet.loads[uid] = fleet.rooms[uid]


def _why_moved(current: Assignment | None, fleet: "_Fleet", pool_of_relay: Mapping[str, Key]) -> Why:
    if current is None:
        return Why.NEW
    if current.relay not in pool_of_relay:
        return Why.RELAY_GONE
    if pool_of_relay[current.relay] != fleet.pool.key:
        return Why.POOL_CHANGED
    return Why.RELAY_DRAINING if current.relay in fleet.draining else Why.RELAY_FULL


class _Fleet:
    """The relays of one pool, with the cameras they have and those that look for one."""

    def __init__(self, pool: RelayPool, relays: Iterable[Relay]) -> None:
        self.pool = pool
        self.rooms: dict[str, int] = {}
        self.draining: dict[str, int] = {}
        for relay in sorted(relays, key=lambda relay: relay.uid):
            (self.draining if relay.draining else self.rooms)[relay.uid] = capacity(pool, relay)
        # Cameras that stay on each relay that is not draining.
        self.loads = dict.fromkeys(self.rooms, 0)
        # The others, with where they were.
        self.homeless: dict[Key, Assignment | None] = {}
        # Namespaces that `takes` was asked for and took.
        self.taken: set[str] = set()

    @property
    def overfull(self) -> list[str]:
        return [uid for uid, load in self.loads.items() if load > self.rooms[uid]]

    def takes(self, namespace: str) -> bool:
        taken = self.pool.spec.takes(namespace)
        if taken:
            self.taken.add(namespace)
        return taken

    def take(self, cameras: Sequence[Key]) -> dict[Key, str]:
        """A relay for as many of the cameras as there is room for."""
        room = sum(self.rooms.values()) - sum(self.loads.values())
        found = cameras[:room]
        return _spread(found, self.rooms, self.loads, _POINTS / self.pool.spec.capacity.cameras) if found else {}

    def keeps(self, uid: str) -> bool:
        """Takes a place on a draining relay, for a camera that is on it and that nobody else can take."""
        room = self.draining.get(uid, 0)
        if room > 0:
            self.draining[uid] = room - 1
        return room > 0


def _spread(cameras: Sequence[Key], rooms: Mapping[str, int], loads: dict[str, int], density: float) -> dict[Key, str]:
    """A relay for each camera; there must be room for all. `density` is points on the ring for one camera of room."""
    total, room = sum(loads.values()) + len(cameras), sum(rooms.values())
    shares = {uid: total * weight // room for uid, weight in rooms.items()}
    owners: dict[int, str] = {}
    for uid, weight in rooms.items():
        owners.update(dict.fromkeys(_points(uid, max(1, round(weight * density))), uid))
    ring = sorted(owners)
    targets: dict[Key, str] = {}
    left: list[Key] = []
    for key in cameras:
        uid = owners[ring[bisect(ring, *_points(str(key), 1)) % len(ring)]]
        if loads[uid] < shares[uid]:
            loads[uid] += 1
            targets[key] = uid
        else:
            left.append(key)
    # As seats are given out by Sainte-Laguë: in proportion to weight, however small the numbers.
    emptiest = [((loads[uid] + 0.5) / weight, uid) for uid, weight in rooms.items()]
    heapify(emptiest)
    for key in left:
        _, uid = emptiest[0]
        loads[uid] += 1
        heapreplace(emptiest, ((loads[uid] + 0.5) / rooms[uid], uid))
        targets[key] = uid
    return targets


def _points(text: str, count: int) -> tuple[int, ...]:
    return struct.unpack(f"!{count}Q", shake_128(text.encode()).digest(8 * count))
