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
emptied, or is away, gets new cameras only where no other relay has room. What `Plan.replicas` and `Plan.replaceable`
let go of has no cameras any more, save that an outdated relay is let go of with those that no other can take. They
speak of relays that attached: an outdated pod whose relay never did is in no plan, and may be replaced by whoever sees
it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from pancar_operator.model import Assignment, Camera, Key, Relay, RelayPool, Snapshot, Why
from pancar_operator.room import BITRATE, Fleet, Room

ZONE_LABEL: Final = "topology.kubernetes.io/zone"

# Voluntary moves leave at most so many of a pool's cameras on their way at once: a number, or per cent if that is more.
MOVING: Final = (10, 5)


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
        emptied, rolling = _emptied(fleet, wanted[key])
        emptying.update(emptied)
        fleet.closed = tuple(dict.fromkeys((*emptied, *fleet.away)))
        came = draft.place(fleet)
        draft.even_out(fleet, came)
        left = draft.move_on(fleet, emptied, came)
        replicas[key] = draft.replicas(fleet, wanted[key])
        if rolling is not None and (rolling in left or not draft.occupied(rolling)):
            replaceable.add(rolling)
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


def _fleets(snapshot: Snapshot) -> dict[Key, Fleet]:
    members: dict[Key, list[Relay]] = {key: [] for key in snapshot.pools}
    for relay in snapshot.relays:
        if relay.pool in members:
            members[relay.pool].append(relay)
    highest = max(BITRATE, max(snapshot.bitrates.values(), default=0))
    return {
        key: Fleet(pool, members[key], snapshot.sizes.get(key), snapshot.bitrates, highest)
        for key, pool in sorted(snapshot.pools.items())
    }


def _gather(snapshot: Snapshot, fleets: Mapping[Key, Fleet]) -> tuple[dict[Key, Assignment], dict[Key, Unplaced]]:
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


def _wanted(fleet: Fleet) -> int:
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


def _emptied(fleet: Fleet, wanted: int) -> tuple[dict[str, Emptying], str | None]:
    """Relays to empty, in that order: those beyond what is wanted, and one outdated one if none is missing. And which
    of these is to be replaced next.
    """
    emptied = {uid: Emptying.SCALE_IN for uid, _ in fleet.beyond(wanted) if uid in fleet.loads}
    outdated = [(-(fleet.relays[uid].ordinal or 0), uid) for uid in fleet.loads if fleet.relays[uid].outdated]
    if not outdated or fleet.missing(fleet.size or 0):
        return emptied, None
    # Those that go anyway come last: they may be unable to, for want of room.
    _, rolling = min(outdated, key=lambda each: (each[1] in emptied, each))
    emptied.setdefault(rolling, Emptying.ROLL)
    return emptied, rolling


def _why_not(fleet: Fleet) -> Unplaced:
    """Why a camera is left over when all that fit have been placed."""
    why = WhyNot.NO_RELAY
    if fleet.loads:
        full = all(load >= fleet.rooms[uid] for uid, load in fleet.loads.items())
        why = WhyNot.NO_CAPACITY if full else WhyNot.NO_BANDWIDTH
    return Unplaced(why, fleet.pool.key)


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

    def turn_out(self, fleet: Fleet) -> None:
        """Makes those homeless whom their relay has no room for any more."""
        residents = self._residents(fleet.overfull)
        for uid, keys in residents.items():
            for key in keys[fleet.rooms[uid] :]:
                fleet.homeless[key] = self.assignments.pop(key)
            fleet.loads[uid] = fleet.rooms[uid]

    def weigh(self, fleets: Collection[Fleet]) -> None:
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
            fleet.demand = Room(sum(fleet.loads.values()) + len(fleet.homeless), sum(fleet.sent.values()) + looking)

    def place(self, fleet: Fleet) -> set[Key]:
        """Places the homeless; returns those that came to another relay than they were on."""
        homeless = sorted(fleet.homeless)
        targets = fleet.take(homeless, fleet.open, self._zone)
        if fleet.closed and len(targets) < len(homeless):
            left = [key for key in homeless if key not in targets]
            targets.update(fleet.take(left, fleet.closed, self._zone))
        why_not = _why_not(fleet)
        for key in homeless:
            current = fleet.homeless[key]
            if (target := targets.get(key)) is not None:
                self._assign(key, current, target, self._why(current, fleet))
            elif current is not None and fleet.keeps(current.relay):
                self.assignments[key] = current
            else:
                self.unplaced[key] = why_not
        return set(targets)

    def even_out(self, fleet: Fleet, came: set[Key]) -> None:
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

    def move_on(self, fleet: Fleet, emptied: Mapping[str, Emptying], came: set[Key]) -> set[str]:
        """Moves a few cameras off the relays that are emptied; returns those of whose cameras no other takes any."""
        if not emptied:
            return set()
        residents = self._residents(emptied)
        leaving = [key for uid in emptied for key in residents[uid] if key not in came]
        most = self._may_move(fleet, came)
        targets = fleet.take(leaving, fleet.open, self._zone, most)
        left = {uid for uid in emptied if fleet.loads[uid]}
        for key, target in targets.items():
            current = self.assignments[key]
            left.discard(current.relay)
            fleet.leaves(key, current.relay)
            self._assign(key, current, target, _MOVED_BY[emptied[current.relay]])
        return left if len(targets) < most else set()

    def replicas(self, fleet: Fleet, wanted: int) -> int:
        """So many that no relay with cameras is let go of."""
        if fleet.size is None or wanted >= fleet.size:
            return wanted
        return max((1 + ordinal for uid, ordinal in fleet.beyond(wanted) if self.occupied(uid)), default=wanted)

    def occupied(self, uid: str) -> bool:
        if self._had is None:
            self._had = {at for at, _ in self._snapshot.placed.values()}
            self._had.update(at for at, _ in self.assignments.values())
        return uid in self._had

    def _may_move(self, fleet: Fleet, came: set[Key]) -> int:
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

    def _why(self, current: Assignment | None, fleet: Fleet) -> Why:
        if current is None:
            return Why.NEW
        if current.relay not in self._pool_of_relay:
            return Why.RELAY_GONE
        if self._pool_of_relay[current.relay] != fleet.pool.key:
            return Why.POOL_CHANGED
        return Why.RELAY_DRAINING if current.relay in fleet.draining else Why.RELAY_FULL

    def _zone(self, key: Key) -> str:
        return self._snapshot.cameras[key].metadata.labels.get(ZONE_LABEL, "")
