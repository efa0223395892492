"""When statuses may be written, on a clock of the test's own."""

import math
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from pancar_operator.pacing import (
    AT_ONCE,
    BURST,
    FIRST_PAUSE,
    LAST_PAUSE,
    LAST_RETRY,
    WRITES_PER_SECOND,
    Allowance,
    Pacing,
)


class Driven:
    """A writer that writes at once whatever it may, and an API server that takes it or not."""

    def __init__(self) -> None:
        self.pacing = Pacing[str](Allowance(), urgent=32)
        self.now = 0.0
        self.wanting: dict[str, bool] = {}
        self.writes: list[tuple[float, str]] = []
        self.takes = True

    def want(self, item: str, *, urgent: bool = False, hold: float = 0.0) -> bool:
        self.wanting[item] = urgent
        return self.pacing.want(item, self.now, urgent=urgent, hold=hold)

    def until(self, end: float) -> list[tuple[float, str]]:
        """Writes until `end`, and what was written in that time."""
        before = len(self.writes)
        while True:
            for item in self.pacing.due(self.now):
                if item in self.wanting:
                    self.pacing.want(item, self.now, urgent=self.wanting[item])
            while (taken := self.pacing.take(self.now)) is not None:
                self.writes.append((self.now, taken))
                if self.takes:
                    del self.wanting[taken]
                    self.pacing.done(taken, self.now)
                else:
                    self.pacing.failed(taken, self.now)
            wait = self.pacing.wait(self.now)
            if wait is None or self.now + wait > end:
                self.now = end
                return self.writes[before:]
            self.now += max(wait, 1e-6)


def fastest(writes: list[tuple[float, str]]) -> int:
    """The most of them within any second."""
    times = [at for at, _ in writes]
    return max(sum(1 for at in times if since <= at < since + 1.0) for since in times)


def test_thousands_at_once_are_written_each_once_and_few_in_a_second() -> None:
    driven = Driven()
    for number in range(600):
        assert driven.want(f"camera-{number}")
    writes = driven.until(60.0)
    assert set(Counter(item for _, item in writes).values()) == {1}
    assert len(writes) == 600
    assert fastest(writes) <= WRITES_PER_SECOND + BURST
    assert writes[-1][0] <= 600 / WRITES_PER_SECOND


def test_first_statuses_do_not_wait_for_the_others() -> None:
    driven = Driven()
    for number in range(100):
        driven.want(f"camera-{number}")
    for number in range(100):
        driven.want(f"new-{number}", urgent=True)
    written = [item for _, item in driven.until(0.0)]
    assert sum(1 for item in written if item.startswith("new")) == 100


def test_so_many_are_busy_at_once_and_no_more() -> None:
    allowance = Allowance()
    pacing = Pacing[str](allowance, urgent=3)
    for number in range(20):
        pacing.want(f"new-{number}", 0.0, urgent=True)
        pacing.want(f"camera-{number}", 0.0)
    taken = [item for at in range(20) if (item := pacing.take(float(at)))]
    assert sorted(taken) == [*(f"camera-{number}" for number in range(AT_ONCE)), "new-0", "new-1", "new-2"]
    assert pacing.wait(20.0) == math.inf, "nothing can be taken until one is done"
    pacing.done("new-1", 20.0)
    assert pacing.take(20.0) == "new-3"
    assert pacing.take(20.0) is None
    pacing.done("camera-5", 20.0)
    assert pacing.take(20.0) == f"camera-{AT_ONCE}"
    pacing.urgent = 1
    pacing.done("new-0", 20.0)
    pacing.done("new-2", 20.0)
    assert pacing.take(20.0) is None, "one is busy still"
    pacing.done("new-3", 20.0)
    assert pacing.take(20.0) == "new-4"


def test_what_reaches_the_api_server_in_a_second_is_bounded_however_late_it_comes() -> None:
    assert WRITES_PER_SECOND + BURST + AT_ONCE <= 50


def test_what_is_on_its_way_is_held_back_and_told_as_it_came_to_be() -> None:
    driven = Driven()
    assert not driven.want("gate", urgent=True, hold=3.0)
    assert driven.until(1.0) == []
    assert driven.want("gate", urgent=True), "it has arrived"
    assert driven.until(10.0) == [(1.0, "gate")]


def test_what_stays_on_its_way_is_told_at_last() -> None:
    driven = Driven()
    for at in (0.0, 1.0, 2.0):
        driven.until(at)
        assert not driven.want("gate", hold=3.0)
    assert driven.until(10.0) == [(3.0, "gate")]


def test_what_is_written_already_is_not_written() -> None:
    driven = Driven()
    driven.want("gate", hold=3.0)
    driven.pacing.rest("gate")
    driven.wanting.clear()
    assert driven.until(10.0) == []
    assert driven.want("gate")
    driven.pacing.rest("gate")
    assert driven.until(20.0) == []


def test_flapping_is_told_ever_more_seldom_and_not_forgotten() -> None:
    driven = Driven()
    while driven.now < 3600.0:
        driven.want("gate")
        driven.until(driven.now + 1.0)
    times = [at for at, _ in driven.writes]
    assert times[0] == 0.0, "the first change is told at once"
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] == FIRST_PAUSE
    for before, after in pairwise(pauses):
        assert after == min(2 * before, LAST_PAUSE)
    assert pauses[-1] == LAST_PAUSE


def test_after_a_calm_the_next_change_is_told_at_once() -> None:
    driven = Driven()
    while driven.now < 10.0:
        driven.want("gate")
        driven.until(driven.now + 1.0)
    driven.until(200.0)
    assert driven.want("gate")
    assert driven.until(200.5) == [(200.0, "gate")]
    driven.want("gate")
    assert driven.until(210.0) == [(200.0 + FIRST_PAUSE, "gate")]


def test_an_edited_manifest_does_not_wait_for_flapping_to_end() -> None:
    driven = Driven()
    while driven.now < 100.0:
        driven.want("gate")
        driven.until(driven.now + 1.0)
    assert driven.want("gate", urgent=True)


def test_what_failed_is_tried_again_ever_more_seldom_until_it_succeeds() -> None:
    driven = Driven()
    driven.takes = False
    driven.want("gate", urgent=True)
    times = [at for at, _ in driven.until(600.0)]
    pauses = [round(after - before, 3) for before, after in pairwise(times)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LAST_RETRY
    assert not driven.want("gate", urgent=True), "the newest has to wait as well"
    driven.takes = True
    assert len(driven.until(700.0)) == 1
    driven.want("gate")
    assert len(driven.until(700.1)) == 1, "no pause is left of that"


def test_a_change_while_it_is_written_is_not_lost() -> None:
    pacing = Pacing[str](Allowance(), urgent=1)
    pacing.want("gate", 0.0)
    assert pacing.take(0.0) == "gate"
    assert not pacing.want("gate", 0.1)
    pacing.done("gate", 0.2)
    assert pacing.due(0.2) == ["gate"]


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 30)), max_size=150))
def test_the_rate_holds_whatever_changes_when(changes: list[tuple[float, int]]) -> None:
    driven = Driven()
    for wait, number in changes:
        driven.until(driven.now + wait / 10)
        driven.want(f"camera-{number}")
    driven.until(driven.now + 400.0)
    assert not driven.wanting, "all was told"
    assert not driven.writes or fastest(driven.writes) <= WRITES_PER_SECOND + BURST
