"""The state machine of all cameras, in virtual time."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_relay.desired import Assignment, CameraKey, Source
from pancar_relay.ingest.faults import Fault
from pancar_relay.ingest.pulls import (
    CONNECTING_LIMIT,
    KEY_FRAME_TIMEOUT,
    PICTURE_TIMEOUT,
    SPREAD_CAP,
    STABLE,
    Changed,
    Close,
    Command,
    Gone,
    Open,
    Pull,
    Pulls,
    State,
    Stop,
)

TAMAN = CameraKey("kota", "taman")


def camera(name: str = "taman", **fields: object) -> Assignment:
    base = Assignment(CameraKey("kota", name), Source(f"rtsp://192.0.2.1/{name}"))
    return replace(base, **fields)  # type: ignore[arg-type]


def pulled(commands: list[Command]) -> list[CameraKey]:
    return [command.key for command in commands if isinstance(command, Pull)]


@pytest.fixture
def pulls() -> Pulls:
    return Pulls(random.Random(7))  # noqa: S311 - a seed


def live(pulls: Pulls, now: float) -> None:
    assert pulled(pulls.desire([camera()], now)) == [TAMAN]
    pulls.started(TAMAN, now)


def retry(pulls: Pulls, fault: Fault, now: float) -> float:
    """Ends the pull; when the next one starts."""
    pulls.ended(TAMAN, fault, now)
    due = pulls.deadline()
    assert due is not None
    assert pulled(pulls.advance(due - 0.001)) == []
    assert pulled(pulls.advance(due)) == [TAMAN]
    return due - now


def test_a_single_camera_is_pulled_at_once(pulls: Pulls) -> None:
    commands = pulls.desire([camera()], 0.0)
    assert commands == [Open(TAMAN), Changed(TAMAN), Pull(TAMAN, camera().source)]
    assert pulls.status(TAMAN).state is State.WAITING
    assert pulls.deadline() is None


def test_it_is_live_from_its_first_key_frame_on(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    assert pulls.started(TAMAN, 1.5) == [Changed(TAMAN)]
    status = pulls.status(TAMAN)
    assert (status.state, status.since, status.reason) == (State.LIVE, 1.5, None)


def test_desiring_the_same_again_does_nothing(pulls: Pulls) -> None:
    live(pulls, 0.0)
    assert pulls.desire([camera()], 5.0) == []


def test_a_camera_that_sent_no_key_frame_is_given_time_for_one(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    pulls.ended(TAMAN, Fault.NO_KEY_FRAME, PICTURE_TIMEOUT)
    now = pulls.deadline()
    assert now is not None
    assert pulls.advance(now) == [Pull(TAMAN, camera().source, KEY_FRAME_TIMEOUT)]
    # However many of them are waited for, others are pulled.
    batch = [camera(), *(camera(f"k{n:03}") for n in range(CONNECTING_LIMIT))]
    assert len(pulled(pulls.desire(batch, now) + pulls.advance(now + SPREAD_CAP))) == CONNECTING_LIMIT
    pulls.ended(TAMAN, Fault.STALLED, now + 20.0)
    pulls.started(batch[1].key, now + 20.0)
    assert pulls.advance(now + 60.0) == [Pull(TAMAN, camera().source, PICTURE_TIMEOUT)]


def test_a_batch_connects_a_few_at_a_time(pulls: Pulls) -> None:
    batch = [camera(f"k{n:03}") for n in range(100)]
    connecting = pulled(pulls.desire(batch, 0.0))
    now, order = 0.0, list(connecting)
    while len(order) < len(batch):
        if len(connecting) == CONNECTING_LIMIT:
            assert pulls.deadline() is None
            now += 0.1
            connecting += (more := pulled(pulls.started(connecting.pop(0), now)))
        else:
            deadline = pulls.deadline()
            assert deadline is not None
            now = max(now, deadline)
            connecting += (more := pulled(pulls.advance(now)))
        assert len(connecting) <= CONNECTING_LIMIT
        order += more
    assert sorted(order) == sorted(a.key for a in batch)
    # Jittered, lest the cameras of one switch connect in the order of their names.
    assert order != sorted(order)


def test_the_spread_of_a_batch_is_bounded(pulls: Pulls) -> None:
    connecting = pulled(pulls.desire([camera(f"k{n}") for n in range(500)], 0.0)) + pulled(pulls.advance(SPREAD_CAP))
    order = list(connecting)
    while connecting:
        more = pulled(pulls.started(connecting.pop(), SPREAD_CAP))
        connecting += more
        order += more
    assert len(set(order)) == len(order) == 500


@pytest.mark.parametrize("fault", [Fault.DISCONNECTED, Fault.STALLED])
def test_a_stream_that_broke_is_tried_again_within_a_second(pulls: Pulls, fault: Fault) -> None:
    live(pulls, 0.0)
    assert retry(pulls, fault, 60.0) <= 1.0
    status = pulls.status(TAMAN)
    assert (status.state, status.since, status.reason) == (State.OFFLINE, 60.0, fault)


def test_waits_double_up_to_a_cap_and_are_jittered(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    now, waits = 0.0, []
    for _ in range(8):
        waits.append(retry(pulls, Fault.UNREACHABLE, now))
        now += waits[-1] + 10.0
    for attempt, wait in enumerate(waits):
        whole = min(15.0, 2.0**attempt)
        assert whole / 2 <= wait <= whole
    assert len({wait / min(15.0, 2.0**n) for n, wait in enumerate(waits)}) == len(waits)


def test_a_flapping_camera_is_not_tried_promptly_for_ever(pulls: Pulls) -> None:
    live(pulls, 0.0)
    now, waits = 60.0, []
    for _ in range(6):
        waits.append(retry(pulls, Fault.DISCONNECTED, now))
        now += waits[-1] + 0.5
        pulls.started(TAMAN, now)
        now += STABLE / 5
    assert waits[0] <= 1.0
    assert waits[-1] > 5.0


def test_a_stream_that_held_starts_afresh(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    for now in (0.0, 100.0, 200.0, 300.0):
        retry(pulls, Fault.UNREACHABLE, now)
    pulls.started(TAMAN, 400.0)
    assert retry(pulls, Fault.DISCONNECTED, 400.0 + STABLE) <= 1.0


def test_a_wrong_password_is_tried_seldom(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    now, waits = 0.0, []
    for _ in range(5):
        waits.append(retry(pulls, Fault.UNAUTHORIZED, now))
        now += waits[-1] + 1.0
    assert waits[0] >= 30.0
    assert sum(waits) > 300.0


def test_other_faults_before_it_do_not_lengthen_the_wait_for_a_password(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    for now in range(0, 500, 100):
        retry(pulls, Fault.REFUSED, float(now))
    assert retry(pulls, Fault.UNAUTHORIZED, 600.0) <= 60.0


def test_offline_keeps_its_beginning_while_its_cause_changes(pulls: Pulls) -> None:
    live(pulls, 0.0)
    retry(pulls, Fault.DISCONNECTED, 60.0)
    assert pulls.ended(TAMAN, Fault.REFUSED, 70.0) == [Changed(TAMAN)]
    assert (pulls.status(TAMAN).since, pulls.status(TAMAN).reason) == (60.0, Fault.REFUSED)


def test_the_same_fault_again_is_no_news(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    retry(pulls, Fault.REFUSED, 0.0)
    assert pulls.ended(TAMAN, Fault.REFUSED, 10.0) == []


def test_new_credentials_pull_the_same_stream_anew_at_once(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    pulls.ended(TAMAN, Fault.UNAUTHORIZED, 1.0)
    corrected = camera(source=Source("rtsp://192.0.2.1/taman", username="a", password="b"))
    assert pulls.desire([corrected], 2.0) == [Changed(TAMAN), Pull(TAMAN, corrected.source)]
    assert pulls.status(TAMAN).state is State.WAITING


def test_a_rotated_password_is_for_the_next_session(pulls: Pulls) -> None:
    live(pulls, 0.0)
    rotated = camera(source=Source("rtsp://192.0.2.1/taman", username="a", password="b"))
    assert pulls.desire([rotated], 9.0) == [Changed(TAMAN)]
    assert pulls.status(TAMAN).state is State.LIVE
    pulls.ended(TAMAN, Fault.DISCONNECTED, 60.0)
    assert pulls.advance(62.0) == [Pull(TAMAN, rotated.source)]


def test_a_pull_that_is_not_through_yet_begins_again_with_the_new_password(pulls: Pulls) -> None:
    pulls.desire([camera()], 0.0)
    rotated = camera(source=Source("rtsp://192.0.2.1/taman", username="a", password="b"))
    assert pulls.desire([rotated], 1.0) == [Stop(TAMAN), Changed(TAMAN), Pull(TAMAN, rotated.source)]


def test_a_new_generation_alone_is_news_and_touches_no_pull(pulls: Pulls) -> None:
    live(pulls, 0.0)
    assert pulls.desire([camera(generation=2)], 9.0) == [Changed(TAMAN)]
    assert pulls.status(TAMAN).state is State.LIVE


def test_a_new_url_stops_the_old_pull_first_and_keeps_the_stream(pulls: Pulls) -> None:
    live(pulls, 0.0)
    moved = camera(source=Source("rtsp://192.0.2.9/taman"))
    assert pulls.desire([moved], 9.0) == [Stop(TAMAN), Changed(TAMAN), Pull(TAMAN, moved.source)]


def test_a_new_title_does_not_touch_the_pull(pulls: Pulls) -> None:
    live(pulls, 0.0)
    assert pulls.desire([camera(title="Taman Kota")], 9.0) == [Changed(TAMAN)]
    assert pulls.status(TAMAN).state is State.LIVE


def test_removal_closes_the_stream(pulls: Pulls) -> None:
    live(pulls, 0.0)
    assert pulls.desire([], 9.0) == [Close(TAMAN), Gone(TAMAN)]


def test_removing_a_connecting_camera_frees_its_turn(pulls: Pulls) -> None:
    batch = [camera(f"k{n:02}") for n in range(CONNECTING_LIMIT + 1)]
    connecting = pulled(pulls.desire(batch, 0.0)) + pulled(pulls.advance(SPREAD_CAP))
    waiting = {a.key for a in batch} - set(connecting)
    kept = [a for a in batch if a.key != connecting[0]]
    assert pulled(pulls.desire(kept, SPREAD_CAP)) == list(waiting)


def test_a_pause_for_privacy_closes_the_stream_and_says_why(pulls: Pulls) -> None:
    live(pulls, 0.0)
    paused = camera(paused=True, paused_reason="Funeral")
    assert pulls.desire([paused], 9.0) == [Close(TAMAN), Changed(TAMAN)]
    status = pulls.status(TAMAN)
    assert (status.state, status.message) == (State.PAUSED, "Funeral")
    assert pulls.deadline() is None


def test_a_camera_that_is_paused_from_the_start_is_never_pulled(pulls: Pulls) -> None:
    assert pulls.desire([camera(paused=True)], 0.0) == [Changed(TAMAN)]
    assert pulls.advance(100.0) == []
    assert pulls.desire([], 101.0) == [Gone(TAMAN)]


def test_the_end_of_a_pause_opens_the_stream_again(pulls: Pulls) -> None:
    pulls.desire([camera(paused=True)], 0.0)
    assert pulls.desire([camera()], 5.0) == [Open(TAMAN), Changed(TAMAN), Pull(TAMAN, camera().source)]


@given(st.lists(st.tuples(st.sampled_from(["desire", "start", "end", "pass"]), st.integers(0, 2**20)), max_size=60))
def test_whatever_happens_streams_and_pulls_stay_paired(steps: list[tuple[str, int]]) -> None:
    """A camera has one stream from Open to Close, and one pull at most, within the ramp."""
    pulls, now = Pulls(random.Random(1)), 0.0  # noqa: S311 - a seed
    opened: set[CameraKey] = set()
    pulling: dict[CameraKey, bool] = {}

    def perform(commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Open(key):
                    assert key not in opened
                    opened.add(key)
                case Close(key):
                    opened.remove(key)
                    pulling.pop(key, None)
                case Pull(key, _):
                    assert key in opened
                    assert key not in pulling
                    pulling[key] = False
                case Stop(key):
                    del pulling[key]
        assert sum(not started for started in pulling.values()) <= CONNECTING_LIMIT

    for step, number in steps:
        now += number % 7
        if step == "desire":
            names = [f"k{bit}" for bit in range(20) if number >> bit & 1]
            source = Source(f"rtsp://192.0.2.{number % 2}/")
            perform(pulls.desire([camera(n, source=source, paused=number % 5 == 0) for n in names], now))
        elif step == "start" and (waiting := sorted(k for k, started in pulling.items() if not started)):
            key = waiting[number % len(waiting)]
            pulling[key] = True
            perform(pulls.started(key, now))
        elif step == "end" and pulling:
            key = sorted(pulling)[number % len(pulling)]
            del pulling[key]
            perform(pulls.ended(key, list(Fault)[number % len(Fault)], now))
        else:
            perform(pulls.advance(now))
