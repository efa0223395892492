"""Which relay pulls which camera, and how many relays there shall be: `plan(snapshot)`, pure.

Called by `reconcile`, and by whoever asks "what if".

Placement is sticky: a camera stays where it is while its relay is there, in the right pool, not draining and not over
capacity; it keeps its very `Assignment` then, so that what did not change is told by identity. What has to be placed
goes to the first relay after it on a hash ring, unless that one has its share of the load already; what is left after
that fills the relays with the least load. So load is even, and even a plan from nothing puts most cameras where the
last one did. To a relay that comes later, new cameras move of which no picture has come yet, and no others. A camera
with a zone is placed in it while there is room; it is never moved for it. Where there is too little room, cameras are
served in the order of their names. Each camera left over carries its reason.

A relay has room for so many cameras, and for so many Mbit/s; the latter only close it for new cameras.

The plan empties relays by itself, few cameras at a time (MOVING): those with an ordinal beyond what the pool shall
have, highest first; then, where no relay of the pool is missing, the outdated one with the highest ordinal. What is
emptied gets new cameras only where no other relay has room. What `Plan.replicas` and `Plan.replaceable` let go of has
no cameras any more, save that an outdated relay is let go of with those that no other can take. They speak of relays
that attached: an outdated pod whose relay never did is in no plan, and may be replaced by whoever sees it.
"""

import struct
from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from hashlib import shake_128
from heapq import heapify, heapreplace
from math import floor
from typing import Final, NamedTuple

from pancar_operator.model import Assignment, Camera, Key, Relay, RelayPool, Snapshot, Why

ZONE_LABEL: Final = "topology.kubernetes.io/zone"

# Megabits a second of a camera that was not measured yet.
BITRATE: Final = 2

# Voluntary moves leave at most so many of a pool's cameras on their way at once: a number, or per cent if that is more.
MOVING: Final = (10, 5)

# A relay goes only if beyond the headroom this part of a relay stays free, so that the size does not swing.
_MARGIN: Final = 4

# A relay's load is uneven from so much of its share on, and a camera at least.
_UNEVEN: Final = 0.1

# Points on the ring of a relay of its pool's full capacity: the more, the more cameras find their first relay open.
_POINTS: Final = 32


class WhyNot(StrEnum):
    """Why a camera is on no relay."""

    POOL_NOT_FOUND = "PoolNotFound"
    NAMESPACE_NOT_TAKEN = "NamespaceNotTaken"
    NO_RELAY = "NoRelay"
    NO_CAPACITY = "NoCapacity"
    # Relays with room for a camera send as many megabits as they may.
    NO_BANDWIDTH = "NoBandwidth"


class Unplaced(NamedTuple):
    why: WhyNot
    pool: Key


class Move(NamedTuple):
    camera: Key
    source: str
    target: str
    why: Why


class _Room(NamedTuple):
    """Of relays, or what cameras take of it."""

    cameras: int
    # A second.
    megabits: int


_NONE: Final = _Room(0, 0)


class Emptying(StrEnum):
    """Why the plan empties a relay by itself."""

    SCALE_IN = "ScaleIn"
    ROLL = "Roll"


_MOVED_BY: Final = {Emptying.SCALE_IN: Why.SCALE_IN, Emptying.ROLL: Why.ROLLED}


@dataclass(frozen=True, slots=True)
class Plan:
    """Every camera of the snapshot is in exactly one of `assignments` and `unplaced`."""

    assignments: Mapping[Key, Assignment] = field(default_factory=dict)
    unplaced: Mapping[Key, Unplaced] = field(default_factory=dict)
    # In the order of the cameras' names.
    moves: tuple[Move, ...] = ()
    # Relays that the plan empties, by uid, also when they are empty.
    emptying: Mapping[str, Emptying] = field(default_factory=dict)
    # Relays that each pool shall have in the end, and now: never fewer now than keep one that still has cameras. Both
    # are the relays there are where Snapshot.sizes does not know the pool.
    wanted: Mapping[Key, int] = field(default_factory=dict)
    replicas: Mapping[Key, int] = field(default_factory=dict)
    # Outdated relays whose pod may be deleted now: they are empty, or nothing else can take what they have.
    replaceable: frozenset[str] = frozenset()


def plan(snapshot: Snapshot) -> Plan:
    """The plan for a snapshot; the order of its cameras, pools and relays does not matter."""
    fleets = _fleets(snapshot)
    draft = _Draft(snapshot, *_gather(snapshot, fleets))
    for fleet in fleets.values():
        if fleet.overfull:
            draft.turn_out(fleet)
    draft.weigh(fleets.values())
    emptying: dict[str, Emptying] = {}
    wanted: dict[Key, int] = {}
    replicas: dict[Key, int] = {}
    replaceable: set[str] = set()
    for key, fleet in fleets.items():
        wanted[key] = _wanted(fleet)
        fleet.empty(wanted[key])
        emptying.update(fleet.emptying)
        came = draft.place(fleet)
        draft.even_out(fleet, came)
        left = draft.move_on(fleet, came)
        replicas[key] = draft.replicas(fleet, wanted[key])
        if fleet.rolling and (fleet.rolling in left or not draft.occupied(fleet.rolling)):
            replaceable.add(fleet.rolling)
    moves = tuple(sorted(draft.moves))
    return Plan(draft.assignments, draft.unplaced, moves, emptying, wanted, replicas, frozenset(replaceable))


def pool_of(camera: Camera, default: Key, pools: Mapping[Key, RelayPool]) -> Key:
    """The pool that shall pull a camera: the one it names, else one at its site that takes it, else the default."""
    ref = camera.spec.pool_ref
    if ref is not None:
        return Key(ref.namespace or default.namespace, ref.name)
    site = None if camera.spec.location is None else camera.spec.location.site
    if site is None:
        return default
    namespace = camera.metadata.namespace
    near = [key for key, pool in pools.items() if pool.spec.site == site and pool.spec.takes(namespace)]
    return min(near, key=lambda key: (key != default, key), default=default)


def capacity(pool: RelayPool, relay: Relay) -> int:
    """Cameras a relay may pull: what its pool allows, or less where it says so itself."""
    allowed = pool.spec.capacity.cameras
    return min(allowed, relay.cameras) if relay.cameras else allowed


def egress(pool: RelayPool, relay: Relay) -> int:
    """Megabits a second a relay may send: what its pool allows, or less where it says so itself."""
    allowed = pool.spec.capacity.egress_mbps
    return min(allowed, relay.egress_mbps) if relay.egress_mbps else allowed


def _fleets(snapshot: Snapshot) -> dict[Key, "_Fleet"]:
    members: dict[Key, list[Relay]] = {key: [] for key in snapshot.pools}
    for relay in snapshot.relays:
        if relay.pool in members:
            members[relay.pool].append(relay)
    highest = max(BITRATE, max(snapshot.bitrates.values(), default=0))
    return {
        key: _Fleet(pool, members[key], snapshot.sizes.get(key), snapshot.bitrates, highest)
        for key, pool in sorted(snapshot.pools.items())
    }


def _gather(snapshot: Snapshot, fleets: Mapping[Key, "_Fleet"]) -> tuple[dict[Key, Assignment], dict[Key, Unplaced]]:
    """Who stays where he is, and who is taken by no pool; all others become homeless in their pool's fleet.

    Runs over all cameras at every change.
    """
    before, default, pools = snapshot.placed.get, snapshot.default_pool, snapshot.pools
    assignments = dict(snapshot.placed)
    unplaced: dict[Key, Unplaced] = {}
    found = 0
    default_fleet = fleets.get(default)
    sites = any(pool.spec.site is not None for pool in pools.values())
    for key, camera in snapshot.cameras.items():
        current = before(key)
        if current is not None:
            found += 1
        spec = camera.spec
        if spec.pool_ref is None and not (sites and spec.location is not None):
            fleet = default_fleet
        else:
            fleet = fleets.get(pool_of(camera, default, pools))
        if fleet is None:
            unplaced[key] = Unplaced(WhyNot.POOL_NOT_FOUND, pool_of(camera, default, pools))
        elif key.namespace not in fleet.taken and not fleet.takes(key.namespace):
            unplaced[key] = Unplaced(WhyNot.NAMESPACE_NOT_TAKEN, fleet.pool.key)
        elif current is not None and (load := fleet.loads.get(current.relay)) is not None:
            fleet.loads[current.relay] = load + 1
            continue
        else:
            fleet.homeless[key] = current
        assignments.pop(key, None)
    if found < len(snapshot.placed):
        for key in snapshot.placed.keys() - snapshot.cameras.keys():
            del assignments[key]
    return assignments, unplaced


def _wanted(fleet: "_Fleet") -> int:
    """Relays that the pool shall have in the end."""
    if fleet.size is None:
        return len(fleet.relays)
    bounds = fleet.pool.spec.autoscaling
    if bounds is None:
        return 1 if fleet.pool.spec.replicas is None else fleet.pool.spec.replicas
    size = min(max(fleet.size, bounds.min), bounds.max)
    while size < bounds.max and not fleet.suffices(size, bounds.headroom):
        size += 1
    if size <= fleet.size:
        while size > bounds.min and fleet.spares(size - 1, bounds.headroom):
            size -= 1
    return size


class _Draft:
    """The plan in the making."""

    def __init__(self, snapshot: Snapshot, assignments: dict[Key, Assignment], unplaced: dict[Key, Unplaced]) -> None:
        self._snapshot = snapshot
        self._pool_of_relay = {relay.uid: relay.pool for relay in snapshot.relays}
        self.assignments = assignments
        self.unplaced = unplaced
        self.moves: list[Move] = []
        # Relays that had cameras by the plan before, or have by this one; None until somebody asks.
        self._had: set[str] | None = None

    def turn_out(self, fleet: "_Fleet") -> None:
        """Makes those homeless whom their relay has no room for any more."""
        residents = self._residents(fleet.overfull)
        for uid, keys in residents.items():
            for key in keys[fleet.rooms[uid] :]:
                fleet.homeless[key] = self.assignments.pop(key)
            fleet.loads[uid] = fleet.rooms[uid]

    def weigh(self, fleets: Collection["_Fleet"]) -> None:
        """What the cameras take of their pools, and make the relays they stay on send. May run over all cameras."""
        if any(fleet.narrow for fleet in fleets):
            rate = self._snapshot.bitrates.get
            sent = dict.fromkeys(self._pool_of_relay, 0)
            for key, (uid, _) in self.assignments.items():
                sent[uid] += rate(key, BITRATE)
            for fleet in fleets:
                fleet.sent = {uid: sent[uid] for uid in fleet.loads}
        for fleet in fleets:
            looking = sum(map(fleet.rate, fleet.homeless)) if fleet.narrow else 0
            fleet.demand = _Room(sum(fleet.loads.values()) + len(fleet.homeless), sum(fleet.sent.values()) + looking)

    def place(self, fleet: "_Fleet") -> set[Key]:
        """Places the homeless; returns those that came to another relay than they were on."""
        homeless = sorted(fleet.homeless)
        targets = fleet.take(homeless, fleet.open, self._zone)
        if fleet.emptying and len(targets) < len(homeless):
            left = [key for key in homeless if key not in targets]
            targets.update(fleet.take(left, tuple(fleet.emptying), self._zone))
        why_not = Unplaced(fleet.why_not, fleet.pool.key)
        for key in homeless:
            current = fleet.homeless[key]
            if (target := targets.get(key)) is not None:
                self._assign(key, current, target, self._why(current, fleet))
            elif current is not None and fleet.keeps(current.relay):
                self.assignments[key] = current
            else:
                self.unplaced[key] = why_not
        return set(targets)

    def even_out(self, fleet: "_Fleet", came: set[Key]) -> None:
        """Moves new cameras that nobody has seen yet to relays that have much less to do, as those that came later."""
        if not self._snapshot.fresh:
            return
        over, under = fleet.uneven
        if not over or not under:
            return
        leaving: list[Key] = []
        for uid, keys in self._residents(over).items():
            zone = fleet.relays[uid].zone
            fresh = [key for key in keys if self._is_new(key) and key not in came]
            leaving += [key for key in fresh if not zone or self._zone(key) != zone][-over[uid] :]
        for key, target in fleet.take(sorted(leaving), tuple(under), self._zone, sum(under.values())).items():
            current = self.assignments[key]
            fleet.leaves(key, current.relay)
            self._assign(key, current, target, Why.BALANCED)

    def _is_new(self, key: Key) -> bool:
        """It came to its relay for the first time, and nobody has seen it there yet."""
        return key in self._snapshot.fresh and self.assignments[key].why in (Why.NEW, Why.BALANCED)

    def move_on(self, fleet: "_Fleet", came: set[Key]) -> set[str]:
        """Moves a few cameras off the relays that are emptied; returns those of whose cameras no other takes any."""
        if not fleet.emptying:
            return set()
        residents = self._residents(fleet.emptying)
        leaving = [key for uid in fleet.emptying for key in residents[uid] if key not in came]
        most = self._may_move(fleet, came)
        targets = fleet.take(leaving, fleet.open, self._zone, most)
        left = {uid for uid in fleet.emptying if fleet.loads[uid]}
        for key, target in targets.items():
            current = self.assignments[key]
            left.discard(current.relay)
            fleet.leaves(key, current.relay)
            self._assign(key, current, target, _MOVED_BY[fleet.emptying[current.relay]])
        return left if len(targets) < most else set()

    def replicas(self, fleet: "_Fleet", wanted: int) -> int:
        """So many that no relay with cameras is let go of."""
        if fleet.size is None or wanted >= fleet.size:
            return wanted
        return max((1 + ordinal for uid, ordinal in fleet.beyond(wanted) if self.occupied(uid)), default=wanted)

    def occupied(self, uid: str) -> bool:
        if self._had is None:
            self._had = {at for at, _ in self._snapshot.placed.values()}
            self._had.update(at for at, _ in self.assignments.values())
        return uid in self._had

    def _may_move(self, fleet: "_Fleet", came: set[Key]) -> int:
        """How many more of the fleet's cameras may be on their way. One that is paused never arrives."""
        cameras, assigned = self._snapshot.cameras, self.assignments
        moving = len(came)
        for key in self._snapshot.unsettled:
            if key not in came and (current := assigned.get(key)) is not None and current.relay in fleet.rooms:
                moving += cameras[key].spec.paused is None
        few, per_cent = MOVING
        return max(0, max(few, fleet.demand.cameras * per_cent // 100) - moving)

    def _residents(self, relays: Iterable[str]) -> dict[str, list[Key]]:
        """Who is on each of the relays, in the order of their names."""
        residents: dict[str, list[Key]] = {uid: [] for uid in relays}
        for key, (uid, _) in self.assignments.items():
            if uid in residents:
                residents[uid].append(key)
        return {uid: sorted(keys) for uid, keys in residents.items()}

    def _assign(self, key: Key, current: Assignment | None, target: str, why: Why) -> None:
        self.assignments[key] = Assignment(target, why)
        if current is not None:
            self.moves.append(Move(key, current.relay, target, why))

    def _why(self, current: Assignment | None, fleet: "_Fleet") -> Why:
        if current is None:
            return Why.NEW
        if current.relay not in self._pool_of_relay:
            return Why.RELAY_GONE
        if self._pool_of_relay[current.relay] != fleet.pool.key:
            return Why.POOL_CHANGED
        return Why.RELAY_DRAINING if current.relay in fleet.draining else Why.RELAY_FULL

    def _zone(self, key: Key) -> str:
        return self._snapshot.cameras[key].metadata.labels.get(ZONE_LABEL, "")


class _Fleet:
    """The relays of one pool, with the cameras they have and those that look for one."""

    def __init__(
        self, pool: RelayPool, relays: Iterable[Relay], size: int | None, bitrates: Mapping[Key, int], highest: int
    ) -> None:
        """`highest` is the highest of the bitrates."""
        self.pool = pool
        self.relays = {relay.uid: relay for relay in sorted(relays, key=lambda relay: relay.uid)}
        self.size = size
        self._bitrates = bitrates
        self.rooms = {uid: capacity(pool, relay) for uid, relay in self.relays.items()}
        self._limits = {uid: egress(pool, relay) for uid, relay in self.relays.items()}
        # Relays that end, with the places that are still free on them.
        self.draining = {uid: self.rooms[uid] for uid, relay in self.relays.items() if self._ends(relay)}
        # Cameras on each of the other relays, and the megabits a second of these.
        self.loads = {uid: 0 for uid in self.relays if uid not in self.draining}
        self.sent = dict.fromkeys(self.loads, 0)
        # Cameras that look for a relay, with where they were.
        self.homeless: dict[Key, Assignment | None] = {}
        # What all cameras of the pool take.
        self.demand = _NONE
        # Whether megabits may be short before places are; else nobody need count them.
        self.narrow = self._is_narrow(highest)
        # In the order in which they are emptied.
        self.emptying: dict[str, Emptying] = {}
        # The one of these that is to be replaced next.
        self.rolling: str | None = None
        # Namespaces that `takes` was asked for and took.
        self.taken: set[str] = set()

    def _ends(self, relay: Relay) -> bool:
        """Where its StatefulSet has no place for it any more, its pod is about to be deleted."""
        return relay.draining or (self.size is not None and relay.ordinal is not None and relay.ordinal >= self.size)

    def _is_narrow(self, highest: int) -> bool:
        """Whether relays full of cameras that send so much send more than they may."""
        each = self.pool.spec.capacity
        rooms = [(each.cameras, each.egress_mbps), *zip(self.rooms.values(), self._limits.values(), strict=True)]
        return any(limit < room * highest for room, limit in rooms)

    @property
    def open(self) -> tuple[str, ...]:
        return tuple(uid for uid in self.loads if uid not in self.emptying)

    @property
    def overfull(self) -> list[str]:
        return [uid for uid, load in self.loads.items() if load > self.rooms[uid]]

    @property
    def uneven(self) -> tuple[dict[str, int], dict[str, int]]:
        """Open relays with clearly more than their share of the load, and with clearly less: each by how many."""
        relays = self.open
        total, room = sum(self.loads[uid] for uid in relays), sum(self.rooms[uid] for uid in relays)
        by = {uid: self.loads[uid] - total * self.rooms[uid] / room for uid in relays}
        bound = {uid: max(1.0, total * self.rooms[uid] / room * _UNEVEN) for uid in relays}
        over = {uid: floor(more) for uid, more in by.items() if more > bound[uid]}
        return over, {uid: floor(-more) for uid, more in by.items() if -more >= bound[uid]}

    @property
    def why_not(self) -> WhyNot:
        if not self.loads:
            return WhyNot.NO_RELAY
        full = all(load >= self.rooms[uid] for uid, load in self.loads.items())
        return WhyNot.NO_CAPACITY if full else WhyNot.NO_BANDWIDTH

    def rate(self, camera: Key) -> int:
        """Megabits a second."""
        return self._bitrates.get(camera, BITRATE)

    def leaves(self, camera: Key, uid: str) -> None:
        """The inverse of a `take`."""
        self.loads[uid] -= 1
        if self.narrow:
            self.sent[uid] -= self.rate(camera)

    def takes(self, namespace: str) -> bool:
        taken = self.pool.spec.takes(namespace)
        if taken:
            self.taken.add(namespace)
        return taken

    def suffices(self, size: int, headroom: int) -> bool:
        """So many relays leave the headroom free. Those that did not attach yet are thought of as like the others."""
        each, missing = self.pool.spec.capacity, self._missing(size)
        return self._fits(size, headroom, _Room(missing * each.cameras, missing * each.egress_mbps), _NONE)

    def spares(self, size: int, headroom: int) -> bool:
        """So many relays, of those that are attached, leave the headroom free and a margin beyond it."""
        each = self.pool.spec.capacity
        margin = _Room(max(1, each.cameras // _MARGIN), max(1, each.egress_mbps // _MARGIN))
        return not self.demand.cameras or self._fits(size, headroom, _NONE, margin)

    def beyond(self, size: int) -> list[tuple[str, int]]:
        """Relays, with their ordinals, that are too many in a pool of that size: the highest first."""
        ordinals = ((uid, relay.ordinal) for uid, relay in self.relays.items() if relay.ordinal is not None)
        many = ((uid, ordinal) for uid, ordinal in ordinals if size <= ordinal < (self.size or 0))
        return sorted(many, key=lambda each: (-each[1], each[0]))

    def empty(self, wanted: int) -> None:
        """Decides which relays are emptied: those beyond what is wanted, and one outdated one if none is missing."""
        for uid, _ in self.beyond(wanted):
            if uid in self.loads:
                self.emptying[uid] = Emptying.SCALE_IN
        outdated = [(-(self.relays[uid].ordinal or 0), uid) for uid in self.loads if self.relays[uid].outdated]
        if outdated and not self._missing(self.size or 0):
            # Those that go anyway come last: they may be unable to, for want of room.
            self.rolling = min(outdated, key=lambda each: (each[1] in self.emptying, each))[1]
            self.emptying.setdefault(self.rolling, Emptying.ROLL)

    def take(
        self, cameras: Sequence[Key], among: Sequence[str], zone: Callable[[Key], str], most: int | None = None
    ) -> dict[Key, str]:
        """A relay of those for each camera that there is room for, but no more than `most` of them."""
        targets: dict[Key, str] = {}
        zones = sorted({self.relays[uid].zone for uid in among} - {""})
        waiting = list(cameras)
        while waiting and (room := min(self._free(among), len(waiting) if most is None else most - len(targets))) > 0:
            waiting = self._that_fit(waiting, among)
            batch, waiting = waiting[:room], waiting[room:]
            for each in zones:
                near = [uid for uid in among if self.relays[uid].zone == each]
                targets.update(self._seat([key for key in batch if zone(key) == each], near))
            targets.update(self._spread([key for key in batch if key not in targets], among))
        return targets

    def _seat(self, cameras: Sequence[Key], relays: Sequence[str]) -> dict[Key, str]:
        """A relay of those for each camera that there is room for."""
        targets: dict[Key, str] = {}
        while cameras and (room := self._free(relays)) > 0:
            cameras = self._that_fit(cameras, relays)
            targets.update(self._spread(cameras[:room], relays))
            cameras = cameras[room:]
        return targets

    def keeps(self, uid: str) -> bool:
        """Takes a place on a draining relay, for a camera that is on it and that nobody else can take."""
        room = self.draining.get(uid, 0)
        if room > 0:
            self.draining[uid] = room - 1
        return room > 0

    def _missing(self, size: int) -> int:
        """Relays that are not attached, of those that a pool of that size has."""
        ordinals = {ordinal for uid in self.loads if (ordinal := self.relays[uid].ordinal) is not None}
        return max(0, size - len([ordinal for ordinal in ordinals if ordinal < size]))

    def _fits(self, size: int, headroom: int, more: "_Room", margin: "_Room") -> bool:
        """Whether so many relays and `more` room beside them take all cameras, with headroom and margin left free."""
        there = [uid for uid in self.loads if (self.relays[uid].ordinal or 0) < size]
        cameras = sum(self.rooms[uid] for uid in there) + more.cameras
        megabits = sum(self._limits[uid] for uid in there) + more.megabits
        filled = 100 - headroom
        if 100 * (self.demand.cameras + margin.cameras) > filled * cameras:
            return False
        return not self.narrow or 100 * (self.demand.megabits + margin.megabits) <= filled * megabits

    def _free(self, relays: Iterable[str]) -> int:
        return sum(self.rooms[uid] - self.loads[uid] for uid in relays)

    def _that_fit(self, cameras: Sequence[Key], relays: Iterable[str]) -> list[Key]:
        """The cameras that at least one of the relays, of which one has room for a camera, can send."""
        room = [uid for uid in relays if self.loads[uid] < self.rooms[uid]]
        if not self.narrow or any(not self.loads[uid] for uid in room):
            return list(cameras)
        widest = max(self._limits[uid] - self.sent[uid] for uid in room)
        return [key for key in cameras if self.rate(key) <= widest]

    def _spread(self, cameras: Sequence[Key], relays: Sequence[str]) -> dict[Key, str]:
        """A relay for each camera that one can send; there must be room for all."""
        if not cameras:
            return {}
        loads, rooms = self.loads, {uid: self.rooms[uid] for uid in relays}
        total, room = sum(loads[uid] for uid in relays) + len(cameras), sum(rooms.values())
        shares = {uid: total * weight // room for uid, weight in rooms.items()}
        density = _POINTS / self.pool.spec.capacity.cameras
        ring, owners = _ring(tuple((uid, max(1, round(weight * density))) for uid, weight in rooms.items()))
        targets: dict[Key, str] = {}
        left: list[Key] = []
        for key in cameras:
            uid = owners[bisect(ring, *_points(str(key), 1)) % len(ring)]
            if loads[uid] < shares[uid] and self._sends(uid, key):
                targets[key] = uid
            else:
                left.append(key)
        self._fill(left, rooms, targets)
        return targets

    def _fill(self, cameras: Sequence[Key], rooms: Mapping[str, int], targets: dict[Key, str]) -> None:
        """As seats are given out by Sainte-Laguë: in proportion to weight, however small the numbers."""
        loads = self.loads
        emptiest = [((loads[uid] + 0.5) / weight, uid) for uid, weight in rooms.items()]
        heapify(emptiest)
        for key in cameras:
            _, uid = emptiest[0]
            if self._sends(uid, key):
                heapreplace(emptiest, ((loads[uid] + 0.5) / rooms[uid], uid))
                targets[key] = uid
                continue
            for _, uid in sorted(emptiest):
                if loads[uid] < rooms[uid] and self._sends(uid, key):
                    targets[key] = uid
                    emptiest = [((loads[uid] + 0.5) / weight, uid) for uid, weight in rooms.items()]
                    heapify(emptiest)
                    break

    def _sends(self, uid: str, camera: Key) -> bool:
        """Puts the camera on the relay if that may send it too; an empty relay takes any."""
        if self.narrow:
            rate = self.rate(camera)
            if self.sent[uid] + rate > self._limits[uid] and self.loads[uid]:
                return False
            self.sent[uid] += rate
        self.loads[uid] += 1
        return True


@lru_cache(maxsize=4)
def _ring(counts: tuple[tuple[str, int], ...]) -> tuple[list[int], list[str]]:
    """Points in their order, and whose they are. Relays stay, so it would be made anew at every change for nothing."""
    points = sorted((point, uid) for uid, count in counts for point in _points(uid, count))
    return [point for point, _ in points], [uid for _, uid in points]


def _points(text: str, count: int) -> tuple[int, ...]:
    return struct.unpack(f"!{count}Q", shake_128(text.encode()).digest(8 * count))
