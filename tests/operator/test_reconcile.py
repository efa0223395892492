"""Rounds of the loop: what they tell, and what they leave alone."""

from pancar_operator.control import ControlPlane
from pancar_operator.model import (
    Camera,
    CameraSpec,
    CameraState,
    Key,
    Manifests,
    Metadata,
    Relay,
    Report,
    Source,
    Stream,
)
from pancar_operator.observe import DEFAULT_POOL, Endpoint, Known
from pancar_operator.reconcile import Reconciler, Transition
from pancar_operator.status import Phase

GATE, HARBOUR, SQUARE = KEYS = [Key("kota", name) for name in ("gate", "harbour", "square")]


def declared(*keys: Key, title: str = "") -> Manifests:
    spec = CameraSpec(source=Source(main=Stream(url="rtsp://192.0.2.1/")), title=title or None)
    return Manifests(
        {key: Camera(metadata=Metadata(name=key.name, namespace=key.namespace), spec=spec) for key in keys}
    )


class Operator:
    """The core without a wire: two relays that are there, and a log of all that was told."""

    def __init__(self) -> None:
        self.known = Known(lambda: 0.0)
        self.told: list[Transition] = []
        control = ControlPlane(self.known, term=1, link_used=lambda _: None)
        self.reconciler = Reconciler(self.known, control, lambda told: self.told.extend(told.transitions))
        for uid in ("a", "b"):
            self.known.attach(Relay(uid, DEFAULT_POOL.key), Endpoint("http://127.0.0.1:1", ()))

    def round(self) -> list[Key]:
        """The cameras a round told of."""
        self.told.clear()
        self.reconciler.once()
        return [transition.camera for transition in self.told]

    def relay(self, key: Key) -> str:
        return self.reconciler.plan.assignments[key].relay


def test_a_round_tells_what_changed_and_touches_nothing_else() -> None:
    operator = Operator()
    operator.known.declare(declared(*KEYS))
    assert operator.round() == KEYS
    assert operator.round() == []
    before, planned = dict(operator.reconciler.statuses), operator.reconciler.plan
    operator.known.report(HARBOUR, Report(operator.relay(HARBOUR), CameraState.LIVE))
    assert operator.round() == [HARBOUR]
    assert operator.reconciler.statuses[HARBOUR].phase is Phase.LIVE
    for key in (GATE, SQUARE):
        assert operator.reconciler.statuses[key] is before[key]
        assert operator.reconciler.plan.assignments[key] is planned.assignments[key]
    operator.known.report(HARBOUR, Report(operator.relay(HARBOUR), CameraState.LIVE))
    assert operator.round() == [], "the same report again"


def test_a_camera_that_goes_is_told_of_once() -> None:
    operator = Operator()
    operator.known.declare(declared(*KEYS))
    operator.round()
    operator.known.declare(declared(GATE, SQUARE))
    assert operator.round() == [HARBOUR]
    assert operator.told[0].after is None
    assert operator.reconciler.statuses.keys() == {GATE, SQUARE}
    assert operator.round() == []


def test_the_reason_for_a_camera_s_place_lasts_as_long_as_the_place() -> None:
    operator = Operator()
    operator.known.declare(declared(*KEYS))
    operator.round()
    operator.known.declare(declared(*KEYS, title="changed"))
    operator.round()
    assert {status.placed.reason for status in operator.reconciler.statuses.values()} == {"New"}
    lost = operator.relay(GATE)
    moved = [key for key in KEYS if operator.relay(key) == lost]
    operator.known.forget(lost)
    assert operator.round() == moved
    operator.round()
    reasons = {key: status.placed.reason for key, status in operator.reconciler.statuses.items()}
    assert reasons == {key: "RelayGone" if key in moved else "New" for key in KEYS}


def test_a_report_that_ends_with_its_relay_s_stream_is_told_of() -> None:
    operator = Operator()
    operator.known.declare(declared(GATE))
    operator.round()
    operator.known.report(GATE, Report(operator.relay(GATE), CameraState.LIVE))
    operator.round()
    operator.known.detach(operator.relay(GATE))
    assert operator.round() == [GATE]
    assert operator.reconciler.statuses[GATE].phase is Phase.WAITING


def test_cameras_that_no_relay_takes_are_left_alone_too() -> None:
    operator = Operator()
    operator.known.declare(declared(*KEYS))
    for uid in ("a", "b"):
        operator.known.forget(uid)
    assert operator.round() == KEYS
    before = dict(operator.reconciler.statuses)
    operator.known.declare(declared(*KEYS))
    assert operator.round() == []
    assert all(operator.reconciler.statuses[key] is before[key] for key in KEYS)
