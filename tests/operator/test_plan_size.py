"""How many relays a pool has, and how it comes to have fewer: over time, on a simulated pool."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pancar_operator.model import Autoscaling, Relay, Why
from pancar_operator.plan import Emptying, Plan, plan
from rigs.plans import POOL, pool
from rigs.relaypool import SimulatedPool, most_moving

BOUNDS = Autoscaling(min=1, max=8, headroom=20)


def started(count: int, **spec: Any) -> SimulatedPool:
    """A pool at rest."""
    simulated = SimulatedPool(pool(**spec))
    simulated.declare(count)
    simulated.rest()
    simulated.sizes.clear()
    return simulated


def test_scale_in_empties_the_highest_first_and_lowers_replicas_when_they_are_empty() -> None:
    simulated = started(400, replicas=4)
    simulated.pool = pool(replicas=2)
    first = simulated.round()
    assert first.wanted[POOL] == 2
    assert first.replicas[POOL] == 4
    assert set(first.emptying.values()) == {Emptying.SCALE_IN}
    assert len(first.moves) == most_moving(400)
    assert {(move.source, move.why) for move in first.moves} == {(simulated.relays[3].uid, Why.SCALE_IN)}
    assert simulated.round().moves == (), "the first have to arrive before others leave"
    simulated.rest()
    assert simulated.sizes == [3, 2]
    assert len(simulated.placed) == 400
    assert simulated.round().emptying == {}


def test_an_empty_pool_shrinks_at_once() -> None:
    simulated = started(0, replicas=4)
    simulated.pool = pool(replicas=0)
    assert simulated.round().replicas[POOL] == 0


def test_scale_in_strands_nobody() -> None:
    """Two relays' cameras on one: what does not fit stays where it is, and keeps its relay."""
    simulated = started(30, replicas=2, cameras=20)
    simulated.pool = pool(replicas=1, cameras=20)
    planned = simulated.rest()
    assert (planned.wanted[POOL], planned.replicas[POOL], len(planned.assignments)) == (1, 2, 30)
    # The next one comes where there is room, though it is to be emptied: a picture counts for more.
    simulated.declare(31)
    assert len(simulated.round().assignments) == 31
    simulated.declare(20)
    assert simulated.rest().replicas[POOL] == 1


def test_the_size_follows_the_cameras_with_headroom_and_does_not_swing() -> None:
    def sizes(*counts: int) -> list[int]:
        told = []
        for count in counts:
            simulated.declare(count)
            simulated.rest()
            told.append(simulated.size)
        return told

    simulated = started(0, autoscaling=BOUNDS, cameras=100)
    assert simulated.size == 1
    assert sizes(80, 81, 160, 161, 9999) == [1, 2, 2, 3, 8]
    # A relay goes when without it a quarter of one is free beyond the headroom.
    assert sizes(240, 216, 215, 136, 135, 55, 0) == [4, 4, 3, 3, 2, 1, 1]
    assert sizes(80, 81) == [1, 2]
    assert sizes(*[80, 70, 81] * 3) == [2] * 9


def test_megabits_count_for_the_size_as_cameras_do() -> None:
    simulated = started(10, autoscaling=BOUNDS, cameras=100, egress_mbps=25)
    assert simulated.size == 1
    simulated.declare(11)
    assert simulated.rest().replicas[POOL] == 2
    simulated.declare(200)
    assert simulated.rest().replicas[POOL] == 8


def test_pods_that_are_starting_are_counted_once() -> None:
    simulated = started(10, autoscaling=BOUNDS, cameras=100)
    simulated.declare(300)
    assert [simulated.round().replicas[POOL] for _ in range(4)] == [4, 4, 4, 4]


def test_no_relay_goes_while_one_that_stays_is_missing() -> None:
    simulated = started(300, autoscaling=BOUNDS, cameras=100)
    assert simulated.size == 4
    simulated.declare(130)
    simulated.lose(0)
    simulated.lose(1)
    planned = simulated.round()
    assert planned.emptying == {}
    assert len(planned.assignments) == 130
    assert simulated.rest().replicas[POOL] == 2


def test_without_a_known_size_nothing_is_scaled() -> None:
    simulated = started(300, replicas=3)
    given = simulated.snapshot()
    simulated.pool = pool(replicas=1)
    planned = plan(type(given)(given.cameras, {POOL: simulated.pool}, given.relays, POOL, given.placed))
    assert (planned.replicas, planned.emptying, planned.moves) == ({POOL: 3}, {}, ())


def test_a_relay_without_a_place_in_its_pool_any_more_is_left_at_once() -> None:
    """As when somebody else scaled the StatefulSet: its pod is ending."""
    simulated = started(100, replicas=2)
    given = simulated.snapshot()
    planned = plan(
        type(given)(given.cameras, {POOL: pool(replicas=1)}, given.relays, POOL, given.placed, sizes={POOL: 1})
    )
    assert {assignment.relay for assignment in planned.assignments.values()} == {simulated.relays[0].uid}
    assert {move.why for move in planned.moves} == {Why.RELAY_DRAINING}
    assert planned.emptying == {}


def test_a_relay_outside_the_stateful_set_is_never_too_many() -> None:
    simulated = started(10, replicas=1)
    simulated.relays[7] = Relay("site", POOL)
    planned = plan(simulated.snapshot())
    assert planned.emptying == {}


actions = st.lists(
    st.one_of(
        st.tuples(st.just("declare"), st.integers(0, 70)),
        st.tuples(st.just("lose"), st.integers(0, 7)),
        st.tuples(st.just("start"), st.just(0)),
        st.tuples(st.just("settle"), st.just(0)),
        st.tuples(st.just("outdate"), st.just(0)),
        st.tuples(st.just("resize"), st.integers(0, 8)),
        st.tuples(st.just("autoscale"), st.integers(0, 90)),
        st.tuples(st.just("round"), st.just(0)),
    ),
    max_size=40,
)


def act(simulated: SimulatedPool, action: str, value: int) -> None:
    match action:
        case "declare":
            simulated.declare(value)
        case "lose":
            simulated.lose(value)
        case "start":
            simulated.start()
        case "settle":
            simulated.settle()
        case "outdate":
            simulated.outdate()
        case "resize":
            simulated.pool = pool(cameras=10, replicas=value)
        case "autoscale":
            simulated.pool = pool(cameras=10, autoscaling=Autoscaling(min=1, max=8, headroom=value))
        case _:
            simulated.round()


@settings(max_examples=150, deadline=None)
@given(actions)
def test_whatever_happens_nobody_is_stranded_and_all_comes_to_rest(history: list[tuple[str, int]]) -> None:
    """Each round is held to what no plan may do by the simulated pool itself."""
    simulated = SimulatedPool(pool(cameras=10, replicas=3), 3)
    for action, value in history:
        act(simulated, action, value)
    planned = simulated.rest()
    check_rest(simulated, planned)


def check_rest(simulated: SimulatedPool, planned: Plan) -> None:
    room = 10 * simulated.size
    assert len(planned.assignments) == min(len(simulated.cameras), room)
    assert not any(relay.outdated for relay in simulated.relays.values()), "a roll comes to its end"
    bounds = simulated.pool.spec.autoscaling
    if bounds is None:
        asked = 1 if simulated.pool.spec.replicas is None else simulated.pool.spec.replicas
        assert planned.wanted[POOL] == asked
        beyond = [relay.uid for ordinal, relay in simulated.relays.items() if ordinal >= asked]
        if len(planned.assignments) <= 10 * asked:
            assert not beyond
    else:
        assert bounds.min <= simulated.size <= bounds.max or len(planned.assignments) > 10 * bounds.max
        assert 100 * len(simulated.cameras) <= (100 - bounds.headroom) * room or simulated.size >= bounds.max
