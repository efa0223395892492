"""What `pancar up` keeps for `pancar why` and `pancar plan`."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.facts import HISTORY, CameraFacts, Facts, Happening, Journal, RelayFacts
from pancar_operator.model import Assignment, Key, Relay, Why
from pancar_operator.observe import DEFAULT_POOL, Endpoint, Known
from pancar_operator.reconcile import Transition
from pancar_operator.report import CameraState, Report
from pancar_operator.status import BECAUSE, Condition, Conditions, Phase
from pancar_operator.statusfields import Truth

GATE = Key("kota", "gate")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOT_PAUSED = Condition(Truth.FALSE, "NotPaused")


def conditions(status: Truth, reason: str, message: str = "") -> Conditions:
    ready = Condition(status, reason, message)
    return Conditions(Condition(Truth.TRUE, "New"), ready, ready, NOT_PAUSED)


WAITING = conditions(Truth.UNKNOWN, "Waiting")
LIVE = conditions(Truth.TRUE, "Live")
REFUSED = conditions(Truth.FALSE, "Refused", "Its keeper mends this.")


class Diary:
    """A journal with a clock that goes on by a second at each entry."""

    def __init__(self) -> None:
        self.now = START
        self.journal = Journal(lambda: self.now)

    def come_to(self, *states: Conditions | None, key: Key = GATE) -> None:
        for state in states:
            self.now += timedelta(seconds=1)
            self.journal.transitions([Transition(key, None, state)])

    def place(self, assignments: dict[Key, Assignment]) -> None:
        self.now += timedelta(seconds=1)
        self.journal.assignments(assignments)

    @property
    def cameras(self) -> dict[Key, CameraFacts]:
        return dict(self.journal.facts(Known(lambda: 0.0)).cameras)


def test_every_reason_is_explained() -> None:
    assert BECAUSE.keys() == set(Why)


def test_what_befell_a_camera_is_kept_in_order() -> None:
    diary = Diary()
    diary.come_to(WAITING, REFUSED, LIVE)
    assert diary.cameras[GATE].history == (
        Happening(START + timedelta(seconds=1), Phase.WAITING, "Waiting"),
        Happening(START + timedelta(seconds=2), Phase.OFFLINE, "Refused", "Its keeper mends this."),
        Happening(START + timedelta(seconds=3), Phase.LIVE, "Live"),
    )
    diary.come_to(LIVE)
    assert len(diary.cameras[GATE].history) == 3, "nothing befell it"
    diary.come_to(*[REFUSED, LIVE] * HISTORY)
    assert len(diary.cameras[GATE].history) == HISTORY
    diary.come_to(None)
    assert diary.cameras == {}


def test_since_when_a_camera_is_on_its_relay() -> None:
    diary = Diary()
    diary.come_to(WAITING)
    first, again = Assignment("a", Why.NEW), Assignment("b", Why.RELAY_GONE)
    diary.place({GATE: first})
    since = diary.now
    diary.place({GATE: first})
    assert (diary.cameras[GATE].assignment, diary.cameras[GATE].since) == (first, since)
    diary.place({GATE: again})
    assert (diary.cameras[GATE].assignment, diary.cameras[GATE].since) == (again, diary.now)
    diary.place({})
    assert (diary.cameras[GATE].assignment, diary.cameras[GATE].since) == (None, None)


def test_relays_are_told_with_where_they_are() -> None:
    known = Known(lambda: 0.0)
    relay = Relay("a", DEFAULT_POOL.key, cameras=50, draining=True)
    known.attach(relay, Endpoint("http://127.0.0.1:1", ("127.0.0.1:2",)))
    known.report(GATE, Report("a", CameraState.LIVE))
    assert Journal(lambda: START).facts(known) == Facts(DEFAULT_POOL.key, (RelayFacts(relay, "http://127.0.0.1:1"),))


moments = st.datetimes(timezones=st.just(UTC))
keys = st.builds(Key, st.text(max_size=5), st.text(max_size=5))
assignments = st.builds(Assignment, st.text(max_size=5), st.sampled_from(Why))
happenings = st.builds(Happening, moments, st.sampled_from(Phase), st.text(max_size=5), st.text(max_size=5))
cameras = st.builds(
    CameraFacts,
    st.none() | assignments,
    st.none() | moments,
    st.lists(happenings, max_size=3).map(tuple),
)
relays = st.builds(
    RelayFacts,
    st.builds(Relay, st.text(max_size=5), keys, st.integers(0, 9), st.booleans()),
    st.text(max_size=5),
)


@given(
    st.builds(Facts, keys, st.lists(relays, max_size=3).map(tuple), st.dictionaries(keys, cameras, max_size=3)),
)
def test_facts_come_out_of_json_as_they_went_in(facts: Facts) -> None:
    assert Facts.from_json(facts.as_json()) == facts


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"defaultPool": 1, "relays": [], "cameras": []}'])
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Facts.from_json(content)
