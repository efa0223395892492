"""Missing packets are asked for at once, then every round trip, and not for ever."""

from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.bench.receiver.nacks import INTERVAL, ROUND_TRIP, Nacks


def test_at_once_then_every_round_trip_until_it_comes() -> None:
    nacks = Nacks()
    for number in (0, 1, 4):
        assert nacks.received(number)
    assert nacks.due(0.0) == [2, 3]
    assert nacks.due(0.01) == []
    assert nacks.overdue(ROUND_TRIP - INTERVAL) == []
    assert nacks.overdue(ROUND_TRIP) == [2, 3]
    nacks.received(2)
    assert nacks.overdue(2 * ROUND_TRIP) == [3]
    nacks.forget_before(4)
    assert nacks.overdue(3 * ROUND_TRIP) == []


def test_not_for_ever() -> None:
    nacks = Nacks()
    nacks.received(0)
    nacks.received(2)
    asked = [nacks.overdue(turn * 1.01 * ROUND_TRIP) for turn in range(20)]
    assert asked == [[1]] * 10 + [[]] * 10


def test_too_many_call_for_a_key_frame() -> None:
    nacks = Nacks()
    assert nacks.received(0)
    assert not nacks.received(1002)
    assert nacks.due(0.0) == []
    assert nacks.received(1004)
    assert nacks.due(0.0) == [1003]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60))
def test_what_is_asked_for_is_what_lies_between(numbers: list[int]) -> None:
    nacks = Nacks()
    for number in numbers:
        nacks.received(number)
    assert nacks.due(0.0) == [n for n in range(numbers[0], max(numbers)) if n not in numbers]
