"""What people read of a camera: conditions from plan and report, and the status that is written."""

from datetime import UTC, datetime, timedelta

import pytest
from pancar_operator.model import (
    Assignment,
    Camera,
    CameraObject,
    CameraSpec,
    Key,
    Metadata,
    Paused,
    Refused,
    Source,
    Stream,
    Why,
    WhyRefused,
)
from pancar_operator.plan import Plan, Unplaced, WhyNot
from pancar_operator.report import CameraState, Report, Video
from pancar_operator.status import BECAUSE, Condition, Phase, Place, camera_status, conditions, refusal, says
from pancar_operator.statusfields import CameraStatus, StatusCondition, Truth

KEY = Key("kota", "gate")
POOL = Key("default", "default")
PLACED = Plan({KEY: Assignment("r1", Why.NEW)})
VIDEO = Video("H264", "42e01f", 1280, 720, 25.0)
PLACE = Place("pancar/city", "city-0")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def camera(*, paused: str | None = None) -> Camera:
    spec = CameraSpec(
        source=Source(main=Stream(url="rtsp://192.0.2.1/")), paused=Paused(reason=paused) if paused else None
    )
    return Camera(metadata=Metadata(name=KEY.name, namespace=KEY.namespace), spec=spec)


def test_live() -> None:
    found = conditions(camera(), PLACED, Report("r1", CameraState.LIVE, video=VIDEO))
    assert found.placed == Condition(Truth.TRUE, "New")
    assert found.connected == found.ready == Condition(Truth.TRUE, "Live")
    assert found.paused == Condition(Truth.FALSE, "NotPaused")
    assert (found.phase, found.video) == (Phase.LIVE, VIDEO)


def test_offline_names_the_cause() -> None:
    found = conditions(camera(), PLACED, Report("r1", CameraState.OFFLINE, "Refused", "Its keeper mends this."))
    assert found.ready == Condition(Truth.FALSE, "Refused", "Its keeper mends this.")
    assert found.phase is Phase.OFFLINE


@pytest.mark.parametrize("report", [None, Report("r1", CameraState.WAITING), Report("r2", CameraState.LIVE)])
def test_unknown_until_its_own_relay_says_more(report: Report | None) -> None:
    found = conditions(camera(), PLACED, report)
    assert found.ready.status is Truth.UNKNOWN
    assert found.ready.reason == "Waiting"
    assert found.phase is Phase.WAITING


@pytest.mark.parametrize(
    ("why", "phase", "told"),
    [
        (WhyNot.NO_RELAY, Phase.WAITING, "No relay"),
        (WhyNot.NO_CAPACITY, Phase.OFFLINE, "full"),
        (WhyNot.POOL_NOT_FOUND, Phase.OFFLINE, "spec.poolRef"),
        (WhyNot.NAMESPACE_NOT_TAKEN, Phase.OFFLINE, "namespace kota"),
    ],
)
def test_unplaced_says_why_and_who_mends_it(why: WhyNot, phase: Phase, told: str) -> None:
    found = conditions(camera(), Plan({}, {KEY: Unplaced(why, POOL)}), Report("r1", CameraState.LIVE))
    assert (found.placed.reason, found.phase) == (why.value, phase)
    assert told in found.ready.message
    assert found.video is None


def test_paused_wins_over_everything() -> None:
    for plan in (PLACED, Plan({}, {KEY: Unplaced(WhyNot.NO_RELAY, POOL)})):
        found = conditions(camera(paused="Ibadah"), plan, Report("r1", CameraState.LIVE, video=VIDEO))
        assert found.paused == Condition(Truth.TRUE, "Requested", "Ibadah")
        assert found.ready == Condition(Truth.FALSE, "Paused", "Ibadah")
        assert (found.phase, found.video) == (Phase.PAUSED, None)


def test_every_condition_has_a_reason() -> None:
    for plan in (Plan(), PLACED, *(Plan({}, {KEY: Unplaced(why, POOL)}) for why in WhyNot)):
        for state in CameraState:
            found = conditions(camera(), plan, Report("r1", state))
            assert all(each.reason for each in (found.placed, found.connected, found.ready, found.paused))


def live(generation: int = 1) -> Report:
    return Report("r1", CameraState.LIVE, video=VIDEO, generation=generation)


def offline(reason: str = "Refused") -> Report:
    return Report("r1", CameraState.OFFLINE, reason, "Its keeper mends this.", generation=1)


def written(report: Report | None, generation: int = 1, before: CameraStatus | None = None) -> CameraStatus:
    """The status of a camera that its relay last reported so; LATER, where there is one before."""
    given = CameraObject("uid", generation, before or CameraStatus())
    return camera_status(conditions(camera(), PLACED, report), given, PLACE, LATER if before else NOW)


def by_type(status: CameraStatus) -> dict[str, StatusCondition]:
    return {condition.type: condition for condition in status.conditions}


def test_a_status_says_it_all() -> None:
    status = written(live())
    assert [(each.type, each.status.value, each.reason) for each in status.conditions] == [
        ("Placed", "True", "New"),
        ("Connected", "True", "Live"),
        ("Ready", "True", "Live"),
        ("Paused", "False", "NotPaused"),
    ]
    assert (status.pool, status.relay, status.observed_generation) == ("pancar/city", "city-0", 1)
    assert status.video is not None
    assert (status.video.codec, status.video.width, status.video.fps) == ("H264", 1280, 25.0)


def test_a_time_is_that_of_the_transition_and_not_of_the_write() -> None:
    before = written(live())
    after = by_type(written(offline(), before=before))
    assert after["Ready"].last_transition_time == after["Connected"].last_transition_time == LATER
    assert after["Placed"].last_transition_time == after["Paused"].last_transition_time == NOW
    worse = by_type(written(offline("Unauthorized"), before=written(offline())))
    assert (worse["Ready"].reason, worse["Ready"].last_transition_time) == ("Unauthorized", NOW)


def test_ready_speaks_of_the_manifest_that_the_relay_reported() -> None:
    before = written(live())
    edited = written(live(generation=1), generation=2, before=before)
    assert edited.observed_generation == 2
    assert {each.type: each.observed_generation for each in edited.conditions} == {
        "Placed": 2,
        "Connected": 1,
        "Ready": 1,
        "Paused": 2,
    }
    assert {each.observed_generation for each in written(live(2), 2, edited).conditions} == {2}
    assert {each.observed_generation for each in written(None, 2).conditions} == {2}


def test_what_is_written_already_is_known_by_all_but_times_and_the_conditions_of_others() -> None:
    status = written(live())
    foreign = StatusCondition(
        type="Inspected", status=Truth.TRUE, reason="Clean", message="", last_transition_time=NOW, observed_generation=1
    )
    there = CameraStatus(
        observed_generation=1,
        conditions=(foreign, *status.conditions),
        pool=status.pool,
        relay=status.relay,
        video=status.video,
    )
    assert says(there, written(live(), before=there))
    assert not says(there, written(offline(), before=there))
    assert not says(there, written(live(2), generation=2, before=there))
    assert not says(there, camera_status(conditions(camera(), PLACED, live()), CameraObject("u", 1), Place(), NOW))
    assert not says(CameraStatus(), status)


@pytest.mark.parametrize("fps", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_what_a_relay_makes_up_is_not_written(fps: float | None) -> None:
    odd = Video("H264" * 100, "42e01f" * 100, 1 << 31, 720, fps)
    report = Report("r1", CameraState.OFFLINE, "not one word", "x" * 10_000, video=odd)
    status = written(report)
    assert by_type(status)["Ready"].reason == "Offline"
    assert status.video is not None
    assert status.video.fps is None


def test_a_refused_manifest_says_what_is_wrong() -> None:
    status = camera_status(
        refusal(Refused(WhyRefused.INVALID, "spec.source.main is missing.")), CameraObject("u", 3), Place(), NOW
    )
    placed, ready = by_type(status)["Placed"], by_type(status)["Ready"]
    assert (placed.status, placed.reason, placed.message) == (Truth.FALSE, "Invalid", "spec.source.main is missing.")
    assert (ready.status, ready.observed_generation) == (Truth.FALSE, 3)


def test_every_reason_for_a_place_has_its_sentence() -> None:
    assert BECAUSE.keys() == set(Why)
