"""What befalls cameras and pools, told once, and of many in one sentence; on a clock of the test's own."""

from datetime import UTC, datetime

import pytest
from pancar_operator.events import (
    AGAIN,
    GATHER,
    LAST_GATHER,
    MANY,
    Change,
    Event,
    Gathering,
    Named,
    Told,
    body,
    changes,
    told,
)
from pancar_operator.events import pool_changes as changes_of_pool
from pancar_operator.model import Key, Why
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, StatusCondition, Truth

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GATE = Key("kota", "gate")
POOL = Named(Key("pancar", "city"), "uid-of-pool")
UNREACHABLE = Change("Unreachable", "The address cannot be reached.", "The address cannot be reached.", warning=True)
LIVE, WAITING = ("True", "Live"), ("Unknown", "Waiting")


def condition(kind: str, status: str, reason: str, message: str = "") -> StatusCondition:
    return StatusCondition(
        type=kind, status=Truth(status), reason=reason, message=message, last_transition_time=NOW, observed_generation=1
    )


def status(
    relay: str | None = "city-0",
    connected: tuple[str, ...] = LIVE,
    *,
    placed: tuple[str, ...] = ("True", "New"),
    paused: str = "",
) -> CameraStatus:
    return CameraStatus(
        observed_generation=1,
        conditions=(
            condition("Placed", *placed),
            condition("Connected", *connected),
            condition("Ready", *connected),
            condition("Paused", *(("True", "Requested", paused) if paused else ("False", "NotPaused"))),
        ),
        pool="pancar/city",
        relay=relay,
    )


def story(*statuses: CameraStatus) -> list[tuple[str, bool]]:
    """What is told while a camera goes through them: reasons, and whether they are warnings."""
    before, heard = None, []
    for each in statuses:
        found, before = changes(before, each)
        heard += [(change.reason, change.warning) for change in found]
    return heard


NO_RELAY = status(None, ("Unknown", "NoRelay"), placed=("Unknown", "NoRelay", "No relay is attached yet."))
FULL = status(None, ("False", "NoCapacity"), placed=("False", "NoCapacity", "All relays are full."))
DARK = status(connected=("False", "Unreachable", "The address cannot be reached."))


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        ([status()], [("Placed", False)]),
        ([status(connected=WAITING), status()], [("Placed", False)]),
        ([NO_RELAY, status()], [("Placed", False)]),
        ([FULL, FULL, status()], [("NoCapacity", True), ("Placed", False)]),
        ([status(), DARK, DARK, status()], [("Placed", False), ("Unreachable", True), ("Connected", False)]),
        ([DARK], [("Placed", False), ("Unreachable", True)]),
        (
            [DARK, status(connected=("False", "Unauthorized", "Wrong password."))],
            [("Placed", False), ("Unreachable", True), ("Unauthorized", True)],
        ),
        ([status(), status(connected=WAITING), status()], [("Placed", False)]),
        ([DARK, status(connected=WAITING), DARK], [("Placed", False), ("Unreachable", True)]),
        ([status(), status("city-1", placed=("True", "RelayGone"))], [("Placed", False), ("Moved", False)]),
        ([status(), NO_RELAY, status()], [("Placed", False), ("NoRelay", True), ("Placed", False)]),
        (
            [status(), status(connected=("False", "Paused", "Ibadah"), paused="Ibadah"), status()],
            [("Placed", False), ("Paused", False), ("Resumed", False)],
        ),
    ],
)
def test_what_befalls_a_camera(statuses: list[CameraStatus], told: list[tuple[str, bool]]) -> None:
    assert story(*statuses) == told


@pytest.mark.parametrize("why", Why)
def test_a_move_says_from_where_to_where_and_why(why: Why) -> None:
    [change], _ = changes(Told("city-0", fault=""), status("city-1", placed=("True", why.value)))
    assert change.reason == "Moved"
    for words in ("city-0", "city-1", f"({why.value})"):
        assert words in change.message
    assert "city-1" not in change.alike, "the others go elsewhere"


@pytest.mark.parametrize("written", [status(), DARK, FULL, status(connected=("False", "Paused", "x"), paused="x")])
def test_a_new_leader_tells_nothing_that_is_written(written: CameraStatus) -> None:
    assert changes(told(written), written)[0] == []


def test_a_status_of_others_conditions_tells_nothing() -> None:
    assert told(CameraStatus(conditions=(condition("Inspected", "True", "Clean"),))) is None


def befalls(gathering: Gathering, key: Key, pool: Named | None, change: Change, now: float) -> None:
    gathering.camera(Named(key, f"uid-of-{key.name}"), pool, change, now)


def drained(gathering: Gathering, now: float) -> list[Event]:
    found = []
    while gathering.waiting(now):
        found.append(gathering.take())
    return found


def test_a_few_cameras_are_told_of_one_by_one() -> None:
    gathering = Gathering()
    for number in range(MANY):
        befalls(gathering, Key("kota", f"gate-{number}"), POOL, UNREACHABLE, number * 0.1)
    assert drained(gathering, GATHER - 0.1) == []
    assert gathering.wait(GATHER - 0.1) == pytest.approx(0.1)
    events = drained(gathering, GATHER)
    assert [event.kind for event in events] == ["Camera"] * MANY
    assert events[0] == Event(
        "Camera", Named(Key("kota", "gate-0"), "uid-of-gate-0"), "Unreachable", UNREACHABLE.message, warning=True
    )


def test_of_many_cameras_one_sentence_tells_how_many_why_and_which() -> None:
    gathering = Gathering()
    for number in range(3000):
        befalls(gathering, Key("kota", f"gate-{number:04}"), POOL, UNREACHABLE, number * 0.004)
    [event] = drained(gathering, 3000 * 0.004 + GATHER)
    assert (event.kind, event.of, event.reason, event.warning) == ("RelayPool", POOL, "Unreachable", True)
    assert event.message == (
        "3000 cameras (kota/gate-0000, kota/gate-0001, kota/gate-0002, …): The address cannot be reached."
    )


def test_a_storm_without_an_end_is_told_of_while_it_lasts() -> None:
    gathering = Gathering()
    told: list[Event] = []
    for number in range(1000):
        befalls(gathering, Key("kota", f"gate-{number}"), POOL, UNREACHABLE, number * 0.1)
        told += drained(gathering, number * 0.1)
    assert len(told) == 100 // LAST_GATHER


def test_what_is_not_alike_is_told_apart() -> None:
    gathering = Gathering()
    for number in range(2 * (MANY + 1)):
        change = UNREACHABLE if number % 2 else UNREACHABLE._replace(reason="Refused")
        befalls(gathering, Key("kota", f"gate-{number}"), POOL, change, 0.0)
    assert {event.reason for event in drained(gathering, GATHER)} == {"Unreachable", "Refused"}


def test_many_cameras_of_no_pool_are_told_of_at_one_of_them() -> None:
    gathering = Gathering()
    for number in range(MANY + 1):
        befalls(gathering, Key("kota", f"gate-{number:02}"), None, UNREACHABLE, 0.0)
    [event] = drained(gathering, GATHER)
    assert (event.kind, event.of.key) == ("Camera", Key("kota", "gate-00"))
    assert event.message.startswith(f"{MANY + 1} cameras")


def test_the_same_again_is_counted_and_told_later() -> None:
    gathering = Gathering()
    events = []
    for minute in range(15):
        befalls(gathering, GATE, POOL, UNREACHABLE, minute * 60.0)
        events += drained(gathering, minute * 60.0 + GATHER)
    assert [event.times for event in events] == [1, 10]
    assert events[1].spans == AGAIN


def test_a_camera_told_of_among_many_is_not_told_of_again_at_once() -> None:
    gathering = Gathering()
    for number in range(MANY + 1):
        befalls(gathering, Key("kota", f"gate-{number}"), POOL, UNREACHABLE, 0.0)
    assert len(drained(gathering, GATHER)) == 1
    befalls(gathering, Key("kota", "gate-3"), POOL, UNREACHABLE, 60.0)
    assert drained(gathering, 60.0 + GATHER) == []


def test_each_move_of_a_camera_is_told_but_not_each_word_of_its_faults() -> None:
    gathering = Gathering()
    moves = [Change("Moved", f"Moved to {relay}.", "moved.") for relay in ("city-1", "city-0", "city-1")]
    told = []
    for number, change in enumerate([*moves, UNREACHABLE, UNREACHABLE._replace(message="No answer in 3.2 s.")]):
        befalls(gathering, GATE, POOL, change, 10.0 * number)
        told += [(event.reason, event.message) for event in drained(gathering, 10.0 * number + GATHER)]
    assert told == [("Moved", "Moved to city-1."), ("Moved", "Moved to city-0."), ("Unreachable", UNREACHABLE.message)]


def test_a_camera_with_the_name_of_one_that_went_is_told_of_afresh() -> None:
    gathering = Gathering()
    placed = Change("Placed", "Placed on city-0.", "placed.")
    for number, uid in enumerate(("uid-1", "uid-1", "uid-2")):
        gathering.camera(Named(GATE, uid), POOL, placed, 100.0 * number)
        assert [event.of.uid for event in drained(gathering, 100.0 * number + GATHER)] == ([uid] if number != 1 else [])


def test_what_could_not_be_posted_comes_first_the_next_time() -> None:
    gathering = Gathering()
    for name in ("a", "b"):
        befalls(gathering, Key("kota", name), POOL, UNREACHABLE, 0.0)
    assert gathering.waiting(GATHER)
    gathering.again(gathering.take())
    assert [event.of.key.name for event in drained(gathering, GATHER)] == ["a", "b"]


def pool(*conditions: StatusCondition) -> RelayPoolStatus:
    return RelayPoolStatus(observed_generation=1, conditions=conditions)


def test_what_befalls_a_pool() -> None:
    new = pool(condition("Ready", "False", "Starting", "0 of 2 relays serve."), condition("UpToDate", "True", "Done"))
    stuck = pool(condition("Ready", "False", "NotScheduled", "No node."), condition("UpToDate", "True", "Done"))
    good = pool(condition("Ready", "True", "Serving", "All."), condition("UpToDate", "True", "Done"))
    rolling = pool(condition("Ready", "True", "Replacing", "1 of 2."), condition("UpToDate", "False", "Rolling", "2"))

    def told(before: RelayPoolStatus, after: RelayPoolStatus) -> list[tuple[str, bool]]:
        return [(change.reason, change.warning) for change in changes_of_pool(before, after)]

    assert told(RelayPoolStatus(), new) == [("Starting", False)]
    assert told(new, new) == []
    assert told(new, stuck) == [("NotScheduled", True)]
    assert told(stuck, good) == [("Serving", False)]
    assert told(good, rolling) == [("Replacing", False), ("Rolling", False)]


def test_a_body_names_its_object_and_no_secret() -> None:
    event = Event(
        "Camera",
        Named(GATE, "uid-1"),
        "NotFound",
        "rtsp://u:hunter2@192.0.2.1/ has none.",
        warning=True,
        times=3,
        spans=60,
    )
    made = body(event, NOW, "operator-0")
    assert made["involvedObject"] == {
        "apiVersion": "pancar.dev/v1alpha1",
        "kind": "Camera",
        "namespace": "kota",
        "name": "gate",
        "uid": "uid-1",
    }
    assert (made["type"], made["count"]) == ("Warning", 3)
    assert (made["firstTimestamp"], made["lastTimestamp"]) == ("2026-01-02T03:03:05Z", "2026-01-02T03:04:05Z")
    assert "hunter2" not in str(made)
