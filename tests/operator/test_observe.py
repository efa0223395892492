"""What is known, and the snapshots made of it."""

from collections.abc import Callable
from dataclasses import replace

from pancar_operator.model import (
    Camera,
    CameraSpec,
    Credentials,
    CredentialsRef,
    Key,
    Manifests,
    Metadata,
    Relay,
    RelayPool,
    Source,
    Stream,
)
from pancar_operator.observe import DEFAULT_POOL, DETACHED_GRACE, Endpoint, Known
from pancar_operator.plan import plan
from pancar_operator.report import CameraState, Report

GATE = Key("kota", "gate")
ENDPOINT = Endpoint("http://127.0.0.1:1", ("127.0.0.1:2",))
RELAY = Relay("r1", DEFAULT_POOL.key)


def manifests(*pools: str, phrase: str = "hunter2", url: str = "rtsp://192.0.2.1/") -> Manifests:
    source = Source(main=Stream(url=url), credentials_ref=CredentialsRef(name="key"))
    camera = Camera(metadata=Metadata(name=GATE.name, namespace=GATE.namespace), spec=CameraSpec(source=source))
    found = [RelayPool(metadata=Metadata(name=name, namespace="kota")) for name in pools]
    credentials = {Key("kota", "key"): Credentials("viewer", phrase), Key("other", "key"): Credentials("x", "y")}
    return Manifests({GATE: camera}, {pool.metadata.key: pool for pool in found}, credentials)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_did_not_change_stays_the_same_object() -> None:
    known = Known(Clock())
    known.declare(manifests())
    camera, placement = known.cameras[GATE], known.placements[GATE]
    known.declare(manifests())
    assert known.cameras[GATE] is camera
    assert known.placements[GATE] is placement
    known.declare(manifests(phrase="other"))
    assert known.cameras[GATE] is camera
    assert known.placements[GATE] != placement, "a new password is a change for the relay"
    known.declare(manifests(url="rtsp://192.0.2.2/"))
    assert known.cameras[GATE] != camera


def test_the_default_pool_stays_while_it_is_declared() -> None:
    known = Known(Clock())
    assert known.default_pool == DEFAULT_POOL.key
    known.declare(manifests("zone", "city"))
    assert known.default_pool == Key("kota", "city")
    known.declare(manifests("area", "city", "default"))
    assert known.default_pool == Key("kota", "city")
    known.declare(manifests("area", "default"))
    assert known.default_pool == Key("kota", "default")
    known.declare(manifests())
    assert known.default_pool == DEFAULT_POOL.key


def test_declaring_a_pool_takes_no_camera_off_the_machines_relay() -> None:
    known = Known(Clock())
    known.declare(manifests())
    known.attach(RELAY, ENDPOINT)
    before = plan(known.snapshot({}))
    known.declare(manifests("city"))
    after = plan(known.snapshot(before.assignments))
    assert after.assignments[GATE].relay == "r1"
    assert after.moves == ()


def test_a_detached_relay_is_forgotten_when_its_time_is_over() -> None:
    clock = Clock()
    known = Known(clock)
    known.attach(RELAY, ENDPOINT)
    known.attach(replace(RELAY, uid="r2"), ENDPOINT)
    assert known.expire() is None
    known.detach("r1")
    clock.now = 5
    assert known.expire() == DETACHED_GRACE - 5
    known.attach(RELAY, ENDPOINT)
    assert known.expire() is None
    known.detach("r1")
    clock.now += DETACHED_GRACE
    assert known.expire() is None
    assert list(known.relays) == ["r2"]


def test_reports_live_as_long_as_relay_and_camera() -> None:
    known = Known(Clock())
    known.declare(manifests())
    known.attach(RELAY, ENDPOINT)
    live = Report("r1", CameraState.LIVE)
    known.report(Key("kota", "unknown"), live)
    ends: list[Callable[[], None]] = [
        lambda: known.detach("r1"),
        lambda: known.forget("r1"),
        lambda: known.attach(RELAY, ENDPOINT),
        lambda: known.declare(Manifests()),
    ]
    for end in ends:
        known.attach(RELAY, ENDPOINT)
        known.report(GATE, live)
        assert known.reports == {GATE: live}
        end()
        assert known.reports == {}
