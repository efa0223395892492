"""What becomes of the load where a pool's relays come one after the other, as at a pool's first start."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from pancar_operator.model import Assignment, Key, Relay, Why
from pancar_operator.plan import plan
from rigs.plans import POOL, camera, pool, snapshot, where
from rigs.relaypool import SimulatedPool

FIRST, SECOND = Relay("first", POOL), Relay("second", POOL)


def load(simulated: SimulatedPool) -> list[int]:
    uids = [relay.uid for relay in simulated.relays.values()]
    return [sum(at.relay == uid for at in simulated.placed.values()) for uid in uids]


def test_a_relay_that_comes_late_takes_its_share_of_what_nobody_has_seen() -> None:
    simulated = SimulatedPool(pool(replicas=3), 1)
    simulated.declare(12)
    simulated.round()
    assert load(simulated) == [12]
    simulated.start()
    planned = simulated.round()
    assert load(simulated) == [4, 4, 4]
    assert {move.why for move in planned.moves} == {Why.BALANCED}
    assert simulated.round().moves == ()


def test_what_somebody_may_have_seen_stays() -> None:
    simulated = SimulatedPool(pool(replicas=2), 1)
    simulated.declare(12)
    simulated.round()
    seen = set(sorted(simulated.cameras)[:9])
    simulated.unsettled -= seen
    simulated.start()
    assert {move.camera for move in simulated.round().moves} == simulated.cameras.keys() - seen
    assert load(simulated) == [9, 3]
    simulated.settle()
    assert simulated.round().moves == ()


def test_what_lost_its_relay_is_not_moved_again_when_another_comes() -> None:
    """Viewers wait for it."""
    simulated = SimulatedPool(pool(replicas=2), 2)
    simulated.declare(12)
    simulated.rest()
    simulated.lose(1)
    assert load(simulated) == [6]
    simulated.round()
    assert load(simulated) == [12]
    simulated.start()
    assert simulated.round().moves == ()


def test_a_small_difference_moves_nobody() -> None:
    cameras = [camera(f"camera-{number}") for number in range(41)]
    placed = {each.key: Assignment("first" if at < 21 else "second", Why.NEW) for at, each in enumerate(cameras)}
    given = snapshot(cameras, [FIRST, SECOND], placed=placed)
    assert plan(replace(given, unsettled=frozenset(placed), fresh=frozenset(placed))).moves == ()


def test_zones_and_megabits_count_as_ever() -> None:
    east, west = replace(FIRST, zone="east"), replace(SECOND, zone="west")
    cameras = [camera(f"e{number}", zone="east") for number in range(6)]
    placed = {each.key: Assignment("first", Why.NEW) for each in cameras}
    given = replace(snapshot(cameras, [east, west], placed=placed), fresh=frozenset(placed))
    assert plan(given).moves == (), "they are where they belong"
    nowhere = [camera(f"n{number}") for number in range(6)]
    placed = {each.key: Assignment("first", Why.NEW) for each in nowhere}
    small = replace(west, egress_mbps=4)
    given = replace(snapshot(nowhere, [east, small], placed=placed), fresh=frozenset(placed))
    assert sum(uid == "second" for uid in where(plan(given)).values()) == 2, "2 Mbit/s each"


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60),
)
def test_it_strands_nobody_and_is_even_where_all_is_fresh(rooms: list[int], cameras: list[tuple[int, bool]]) -> None:
    relays = [Relay(f"relay-{number}", POOL, cameras=room) for number, room in enumerate(rooms)]
    placed: dict[Key, Assignment] = {}
    fresh = set()
    free = list(rooms)
    for number, (some, new) in enumerate(cameras):
        at = some % len(rooms)
        if free[at]:
            free[at] -= 1
            key = Key("kota", f"camera-{number:02}")
            placed[key] = Assignment(relays[at].uid, Why.NEW)
            if new:
                fresh.add(key)
    there = [camera(key.name) for key in placed]
    given = replace(snapshot(there, relays, placed=placed), fresh=frozenset(fresh))
    for _ in range(10):
        planned = plan(given)
        assert planned.assignments.keys() == placed.keys()
        assert {move.camera for move in planned.moves} <= fresh
        assert {move.why for move in planned.moves} <= {Why.BALANCED}
        given = replace(given, placed=planned.assignments)
    assert planned.moves == (), "it comes to rest"
    if fresh == placed.keys():
        counts = {relay.uid: 0 for relay in relays}
        for uid in where(planned).values():
            counts[uid] += 1
        share = {relay.uid: len(placed) * relay.cameras / sum(rooms) for relay in relays}
        assert all(abs(count - share[uid]) < max(2, share[uid] / 10) for uid, count in counts.items()), counts
