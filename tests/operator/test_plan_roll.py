"""How outdated relays are replaced: over time, on a simulated pool."""

import collections
from dataclasses import replace

from pancar_operator.model import Camera, Key, Why
from pancar_operator.plan import Emptying, plan
from rigs.plans import POOL, camera, pool
from rigs.relaypool import SimulatedPool, most_moving


def outdated(cameras: int, relays: int, capacity: int = 200) -> SimulatedPool:
    simulated = SimulatedPool(pool(replicas=relays, cameras=capacity))
    simulated.declare(cameras)
    simulated.rest()
    simulated.outdate()
    return simulated


def test_one_at_a_time_from_the_highest_ordinal_each_when_it_is_empty() -> None:
    simulated = outdated(120, 3)
    replaced = []
    while any(relay.outdated for relay in simulated.relays.values()):
        before = dict(simulated.relays)
        planned = simulated.round()
        assert {move.why for move in planned.moves} <= {Why.ROLLED}
        assert len(planned.moves) <= most_moving(120)
        assert planned.replicas[POOL] == 3
        assert len(planned.assignments) == 120
        replaced += [ordinal for ordinal, relay in before.items() if relay.uid in planned.replaceable]
        simulated.start()
        simulated.settle()
    assert replaced == [2, 1, 0]
    planned = simulated.rest()
    assert (planned.emptying, planned.replaceable, planned.moves) == ({}, frozenset(), ())


def test_the_next_one_waits_for_the_one_before_to_be_back() -> None:
    simulated = outdated(40, 3)
    while len(simulated.relays) == 3:
        simulated.round()
        simulated.settle()
    assert list(simulated.relays) == [0, 1]
    planned = simulated.round()
    assert (planned.emptying, planned.moves) == ({}, ())
    simulated.start()
    assert simulated.round().emptying == {simulated.relays[1].uid: Emptying.ROLL}


def test_cameras_move_to_relays_that_are_replaced_already() -> None:
    """Or each would move as often as there are relays."""
    simulated = outdated(600, 6)
    moves: collections.Counter[str] = collections.Counter()
    for _ in range(200):
        moves.update(str(move.camera) for move in simulated.round().moves)
        simulated.start()
        simulated.settle()
    assert not any(relay.outdated for relay in simulated.relays.values())
    assert sum(moves.values()) < 1.5 * 600


def test_a_relay_whose_cameras_nobody_can_take_is_replaced_with_them() -> None:
    alone = outdated(5, 1)
    planned = alone.round()
    assert planned.replaceable == set(planned.emptying)
    assert (planned.moves, len(planned.assignments)) == ((), 5)
    alone.start()
    planned = alone.rest()
    assert len(planned.assignments) == 5
    # The other takes what it can first.
    two = outdated(140, 2, 100)
    last = two.relays[1].uid
    while last in {relay.uid for relay in two.relays.values()}:
        planned = two.round()
        two.settle()
    assert len([key for key, at in planned.assignments.items() if at.relay == last]) == 40


def test_a_camera_that_is_new_stays_off_the_one_that_goes_unless_there_is_no_other() -> None:
    simulated = outdated(100, 2)
    goes = simulated.relays[1].uid
    planned = plan(replace(simulated.snapshot(), cameras={**simulated.cameras, **_new(80)}))
    assert {at.relay for key, at in planned.assignments.items() if key not in simulated.cameras} == {
        simulated.relays[0].uid
    }
    planned = plan(replace(simulated.snapshot(), cameras={**simulated.cameras, **_new(200)}))
    assert len(planned.assignments) == 300
    assert goes in {at.relay for key, at in planned.assignments.items() if key not in simulated.cameras}
    # No voluntary moves while so many are on their way.
    assert planned.moves == ()


def test_cameras_on_their_way_hold_the_next_ones_back() -> None:
    simulated = outdated(100, 2)
    some = sorted(simulated.cameras)[:7]
    simulated.unsettled = set(some)
    assert len(plan(simulated.snapshot()).moves) == most_moving(100) - 7
    # One that is paused is never reported; it would hold them back for ever.
    simulated.cameras |= {key: camera(key.name, paused=True) for key in some}
    assert len(plan(simulated.snapshot()).moves) == most_moving(100)


def _new(count: int) -> dict[Key, Camera]:
    names = [camera(f"new-{number}") for number in range(count)]
    return {each.key: each for each in names}
