"""Conditions from plan and report."""

import pytest
from pancar_operator.model import (
    Assignment,
    Camera,
    CameraSpec,
    CameraState,
    Key,
    Metadata,
    Paused,
    Report,
    Source,
    Stream,
    Truth,
    Video,
    Why,
)
from pancar_operator.plan import Plan, Unplaced, WhyNot
from pancar_operator.status import Condition, Phase, conditions

KEY = Key("kota", "gate")
POOL = Key("default", "default")
PLACED = Plan({KEY: Assignment("r1", Why.NEW)})
VIDEO = Video("H264", "42e01f", 1280, 720, 25.0)


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
