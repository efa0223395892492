"""Which relay pulls which camera: `plan(snapshot)`, pure, called by `reconcile` and by whoever asks "what if".

Placement is sticky: a camera stays where it is while its relay is there, in the right pool, not draining and not over
capacity. What has to be placed goes by weighted rendezvous hashing to one of the relays of its pool that have room, so
that even a plan from nothing moves little when relays come or go. Cameras are served in the order of their names; each
assignment, and each camera left over, carries its reason.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from operator import itemgetter
from typing import Final, NamedTuple

from pancar_operator.model import Camera, Key, Relay, RelayPool, Snapshot

_BITS: Final = 64
_MASK: Final = (1 << _BITS) - 1


class Why(StrEnum):
    """Why a camera is on its relay."""

    KEPT = "Kept"
    NEW = "New"
    RELAY_GONE = "RelayGone"
    RELAY_DRAINING = "RelayDraining"
    RELAY_FULL = "RelayFull"
    POOL_CHANGED = "PoolChanged"


class WhyNot(StrEnum):
    """Why a camera is on no relay."""

    POOL_NOT_FOUND = "PoolNotFound"
    NAMESPACE_NOT_TAKEN = "NamespaceNotTaken"
    NO_RELAY = "NoRelay"
    NO_CAPACITY = "NoCapacity"


class Assignment(NamedTuple):
    relay: str
    why: Why


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
    moves: tuple[Move, ...] = ()


def plan(snapshot: Snapshot) -> Plan:
    """The plan for a snapshot; the order of its cameras, pools and relays does not matter."""
    fleets = _fleets(snapshot.pools, snapshot.relays)
    assignments: dict[Key, Assignment] = {}
    unplaced: dict[Key, Unplaced] = {}
    homeless: list[tuple[Key, _Fleet]] = []
    for key, camera in sorted(snapshot.cameras.items(), key=itemgetter(0)):
        wanted = pool_of(camera, snapshot.default_pool)
        fleet = fleets.get(wanted)
        if fleet is None:
            unplaced[key] = Unplaced(WhyNot.POOL_NOT_FOUND, wanted)
        elif not fleet.takes(key.namespace):
            unplaced[key] = Unplaced(WhyNot.NAMESPACE_NOT_TAKEN, wanted)
        elif (kept := fleet.keep(snapshot.placed.get(key))) is not None:
            assignments[key] = kept
        else:
            homeless.append((key, fleet))
    moves: list[Move] = []
    pool_of_relay = {relay.uid: relay.pool for relay in snapshot.relays}
    for key, fleet in homeless:
        current = snapshot.placed.get(key)
        if (target := fleet.place(key)) is not None:
            why = _why_moved(current, fleet, pool_of_relay)
            assignments[key] = Assignment(target, why)
            if current is not None:
                moves.append(Move(key, current, target, why))
        elif (kept := fleet.keep_draining(current)) is not None:
            assignments[key] = kept
        else:
            unplaced[key] = Unplaced(WhyNot.NO_CAPACITY if fleet.rooms else WhyNot.NO_RELAY, fleet.pool.key)
    return Plan(assignments, unplaced, tuple(moves))


def pool_of(camera: Camera, default: Key) -> Key:
    """The pool that shall pull a camera."""
    ref = camera.spec.pool_ref
    return default if ref is None else Key(ref.namespace or default.namespace, ref.name)


def _why_moved(current: str | None, fleet: "_Fleet", pool_of_relay: Mapping[str, Key]) -> Why:
    if current is None:
        return Why.NEW
    if current not in pool_of_relay:
        return Why.RELAY_GONE
    if pool_of_relay[current] != fleet.pool.key:
        return Why.POOL_CHANGED
    return Why.RELAY_DRAINING if current in fleet.draining else Why.RELAY_FULL


class _Fleet:
    """The relays of one pool and the room that each of them has left."""

    def __init__(self, pool: RelayPool, relays: Iterable[Relay]) -> None:
        self.pool = pool
        self.rooms: dict[str, int] = {}
        self.draining: dict[str, int] = {}
        open_relays: list[tuple[int, str]] = []
        for relay in sorted(relays, key=lambda relay: relay.uid):
            room = capacity(pool, relay)
            if relay.draining:
                self.draining[relay.uid] = room
            else:
                self.rooms[relay.uid] = room
                open_relays.append((room, relay.uid))
        self._rendezvous = _Rendezvous(open_relays)
        self._kept = {uid: Assignment(uid, Why.KEPT) for uid in (*self.rooms, *self.draining)}
        self._taken: dict[str, bool] = {}

    def takes(self, namespace: str) -> bool:
        taken = self._taken.get(namespace)
        if taken is None:
            taken = self._taken[namespace] = self.pool.spec.takes(namespace)
        return taken

    def keep(self, uid: str | None) -> Assignment | None:
        """Takes a place on the relay the camera is on already, if it may stay there."""
        return self._kept[uid] if uid is not None and _take(self.rooms, uid) else None

    def keep_draining(self, uid: str | None) -> Assignment | None:
        """The same on a relay that is draining, for a camera that nobody else can take."""
        return self._kept[uid] if uid is not None and _take(self.draining, uid) else None

    def place(self, camera: Key) -> str | None:
        """Takes a place on the relay that hashing prefers among those with room."""
        point = _hash(str(camera))
        while (uid := self._rendezvous.best(point)) is not None:
            if _take(self.rooms, uid):
                return uid
            self._rendezvous.remove(uid)
        return None


def _take(rooms: dict[str, int], uid: str) -> bool:
    room = rooms.get(uid, 0)
    if room > 0:
        rooms[uid] = room - 1
    return room > 0


class _Rendezvous:
    """Weighted rendezvous hashing: of all relays the one with the greatest weight / -ln(u), u its hash with the camera.

    Among relays of equal weight that order is the order of the hashes themselves, so only the best of each weight is
    scored. The hash of a pair is a product of two 64-bit hashes: hashing each pair properly takes twenty times longer.
    """

    def __init__(self, relays: Iterable[tuple[int, str]]) -> None:
        self._weights: dict[int, tuple[list[str], list[int]]] = {}
        self._weight_of: dict[str, int] = {}
        for weight, uid in relays:
            uids, salts = self._weights.setdefault(weight, ([], []))
            uids.append(uid)
            salts.append(_hash(uid) | 1)
            self._weight_of[uid] = weight

    def best(self, point: int) -> str | None:
        found: str | None = None
        greatest = -1.0
        for weight, (uids, salts) in self._weights.items():
            hashes = [point * salt & _MASK for salt in salts]
            top = max(hashes)
            # 52 bits, so that u stays below 1 as a float.
            score = weight / -math.log(((top >> 12) + 0.5) / (1 << 52))
            if score > greatest:
                found, greatest = uids[hashes.index(top)], score
        return found

    def remove(self, uid: str) -> None:
        weight = self._weight_of.pop(uid)
        uids, salts = self._weights[weight]
        index = uids.index(uid)
        del uids[index], salts[index]
        if not uids:
            del self._weights[weight]


def capacity(pool: RelayPool, relay: Relay) -> int:
    """Cameras a relay may pull: what its pool allows, or less where it says so itself."""
    allowed = pool.spec.capacity.cameras
    return min(allowed, relay.cameras) if relay.cameras else allowed


def _fleets(pools: Mapping[Key, RelayPool], relays: Sequence[Relay]) -> dict[Key, _Fleet]:
    members: dict[Key, list[Relay]] = {key: [] for key in pools}
    for relay in relays:
        if relay.pool in members:
            members[relay.pool].append(relay)
    return {key: _Fleet(pool, members[key]) for key, pool in pools.items()}


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=_BITS // 8).digest(), "big")
