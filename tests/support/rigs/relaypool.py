"""A pool of relays as a plan sees it over time, for the planner's tests: a StatefulSet without a cluster.

Whoever drives it says when pods start, when cameras settle, what is declared; `round` makes one plan and does what it
says, and holds it to what no plan may do.
"""

from dataclasses import replace

from pancar_operator.model import Assignment, Camera, Key, Relay, RelayPool, Snapshot, Why
from pancar_operator.plan import MOVING, Emptying, Plan, plan
from pancar_operator.room import capacity
from rigs.plans import POOL, camera


def most_moving(cameras: int) -> int:
    few, per_cent = MOVING
    return max(few, cameras * per_cent // 100)


class SimulatedPool:
    def __init__(self, pool: RelayPool, size: int = 0) -> None:
        self.pool = pool
        self.size = size
        self.cameras: dict[Key, Camera] = {}
        # By ordinal.
        self.relays: dict[int, Relay] = {}
        self.placed: dict[Key, Assignment] = {}
        self.unsettled: set[Key] = set()
        # Sizes that the plans asked for, where another than before.
        self.sizes: list[int] = []
        self.incarnations = 0
        self.start()

    def declare(self, count: int) -> None:
        """So many cameras are declared, the first ones by name."""
        names = [camera(f"camera-{number:04}") for number in range(count)]
        self.cameras = {each.key: self.cameras.get(each.key, each) for each in names}

    def start(self) -> None:
        """Every pod that is missing starts, and its relay attaches."""
        for ordinal in range(self.size):
            if ordinal not in self.relays:
                self.incarnations += 1
                uid = f"relay-{ordinal}-{self.incarnations}"
                self.relays[ordinal] = Relay(uid, POOL, ordinal=ordinal, name=f"relay-{ordinal}")

    def settle(self) -> None:
        self.unsettled.clear()

    def outdate(self) -> None:
        """The pool's template changes."""
        self.relays = {ordinal: replace(relay, outdated=True) for ordinal, relay in self.relays.items()}

    def lose(self, ordinal: int) -> None:
        self.relays.pop(ordinal, None)

    def snapshot(self) -> Snapshot:
        unsettled = frozenset(self.unsettled & self.cameras.keys())
        return Snapshot(
            cameras=self.cameras,
            pools={POOL: self.pool},
            relays=tuple(self.relays.values()),
            default_pool=POOL,
            placed=self.placed,
            sizes={POOL: self.size},
            unsettled=unsettled,
            fresh=unsettled,
        )

    def round(self) -> Plan:
        given = self.snapshot()
        planned = plan(given)
        self._check(given, planned)
        for key, assignment in planned.assignments.items():
            before = self.placed.get(key)
            if before is None or before.relay != assignment.relay:
                self.unsettled.add(key)
        self.placed = dict(planned.assignments)
        self.unsettled &= self.placed.keys()
        size = planned.replicas[POOL]
        if size != self.size:
            self.sizes.append(size)
        self.size = size
        self.relays = {
            ordinal: relay
            for ordinal, relay in self.relays.items()
            if ordinal < size and relay.uid not in planned.replaceable
        }
        return planned

    def rest(self, rounds: int = 400) -> Plan:
        """Rounds with pods that start and cameras that settle, until nothing changes any more."""
        for _ in range(rounds):
            before = self.snapshot()
            planned = self.round()
            self.start()
            self.settle()
            if self.snapshot() == before:
                return planned
        raise AssertionError(f"no rest after {rounds} rounds: sizes {self.sizes}, emptying {planned.emptying}")

    def _by_uid(self, uid: str) -> Relay:
        return next(relay for relay in self.relays.values() if relay.uid == uid)

    def _check(self, given: Snapshot, planned: Plan) -> None:
        relays = {relay.uid: relay for relay in given.relays}
        load: dict[str, int] = dict.fromkeys(relays, 0)
        for assignment in planned.assignments.values():
            load[assignment.relay] += 1
        rooms = {uid: capacity(self.pool, relay) for uid, relay in relays.items()}
        assert all(load[uid] <= room for uid, room in rooms.items())
        for key in planned.unplaced:
            before = given.placed.get(key)
            assert before is None or before.relay not in relays, f"{key} was stranded"
        evened = {move.camera for move in planned.moves if move.why is Why.BALANCED}
        assert evened <= given.fresh, "somebody may have seen it"
        voluntary = [move for move in planned.moves if move.source in planned.emptying]
        came = {key for key, at in planned.assignments.items() if given.placed.get(key) is not at}
        if voluntary:
            assert len(came | given.unsettled) <= most_moving(len(given.cameras))
        self._check_let_go(planned, load, rooms, {at.relay for at in given.placed.values()})

    def _check_let_go(self, planned: Plan, load: dict[str, int], rooms: dict[str, int], had: set[str]) -> None:
        for ordinal, relay in self.relays.items():
            if ordinal >= planned.replicas[POOL]:
                assert not load[relay.uid], "let go of with cameras"
                assert relay.uid not in had, "let go of in the round that empties it"
        assert len(planned.replaceable) <= 1
        assert sum(why is Emptying.ROLL for why in planned.emptying.values()) <= 1
        for uid in planned.replaceable:
            assert self._by_uid(uid).outdated
            assert uid in planned.emptying
            others = [other for other in rooms if other not in planned.emptying]
            full = all(load[other] == rooms[other] for other in others)
            assert full or not (load[uid] or uid in had), "let go of though others could take what it has"
