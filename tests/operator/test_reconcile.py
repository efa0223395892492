"""Rounds of the loop: what they tell, and what they leave alone; and how a new leader begins."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from pancar_operator.control import ControlPlane
from pancar_operator.model import (
    Camera,
    CameraObject,
    CameraSpec,
    Key,
    Manifests,
    Metadata,
    Node,
    Pod,
    Relay,
    RelayPool,
    Source,
    Stream,
)
from pancar_operator.observe import DEFAULT_POOL, UNHEARD_GRACE, Endpoint, Known
from pancar_operator.reconcile import Reconciler, Transition, gathered
from pancar_operator.report import CameraState, Report
from pancar_operator.status import Phase
from pancar_operator.statusfields import CameraStatus, StatusCondition, Truth

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


POOL = Key("pancar", "default")


class NewLeader:
    """An operator that has just begun to lead in a cluster, and knows the cameras and the pods."""

    def __init__(self) -> None:
        self.now = 0.0
        self.known = Known(lambda: self.now, POOL)
        self.known.put_pool(RelayPool(metadata=Metadata(name=POOL.name, namespace=POOL.namespace)), None, POOL)
        for key, camera in declared(*KEYS).cameras.items():
            self.known.put_camera(camera, CameraObject("u-" + key.name, 1), key)
        self.control = ControlPlane(self.known, term=2, link_used=lambda _: None)
        self.reconciler = Reconciler(self.known, self.control, lambda _: None)
        for ordinal, uid in enumerate(("a", "b")):
            self.known.put_pod(Pod(uid, POOL.namespace, f"default-{ordinal}", POOL, ordinal, "node", running=True))

    def attach(self, uid: str, *holding: Key) -> None:
        self.known.attach(Relay(uid, POOL), Endpoint("https://192.0.2.1:8443", ()), frozenset(holding))

    def placed(self) -> dict[Key, tuple[str, str]]:
        self.reconciler.once()
        return {key: (uid, why.value) for key, (uid, why) in self.reconciler.plan.assignments.items()}


def written(relay: str, reason: str) -> CameraStatus:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    condition = StatusCondition(type="Placed", status=Truth.TRUE, reason=reason, message="", last_transition_time=since)
    return CameraStatus(conditions=(condition,), relay=relay)


def test_a_new_leader_leaves_cameras_where_relays_say_they_are() -> None:
    leader = NewLeader()
    leader.attach("b", *KEYS)
    leader.attach("a")
    assert {uid for uid, _ in leader.placed().values()} == {"b"}


def test_the_reason_for_a_camera_s_place_outlasts_the_leader() -> None:
    leader = NewLeader()
    leader.known.put_camera(
        leader.known.cameras[GATE], CameraObject("u-gate", 1, written("default-0", "RelayGone")), GATE
    )
    # Of another relay than the one that holds it.
    leader.known.put_camera(
        leader.known.cameras[SQUARE], CameraObject("u-square", 1, written("default-1", "RelayGone")), SQUARE
    )
    leader.attach("a", GATE, SQUARE)
    assert leader.placed() == {GATE: ("a", "RelayGone"), SQUARE: ("a", "New"), HARBOUR: ("a", "New")}


def test_cameras_whose_relay_went_with_the_leader_before_are_moved_for_that_reason() -> None:
    leader = NewLeader()
    leader.known.put_camera(leader.known.cameras[GATE], CameraObject("u-gate", 1, written("default-1", "New")), GATE)
    leader.attach("a", SQUARE)
    assert leader.placed() == {GATE: ("a", "RelayGone"), SQUARE: ("a", "New"), HARBOUR: ("a", "New")}


def test_what_a_relay_holds_too_late_is_not_taken_from_where_it_is() -> None:
    leader = NewLeader()
    leader.attach("a")
    assert {uid for uid, _ in leader.placed().values()} == {"a"}
    for key in KEYS:
        leader.known.report(key, Report("a", CameraState.LIVE))
    leader.attach("b", *KEYS)
    assert {uid for uid, _ in leader.placed().values()} == {"a"}


async def test_the_first_plan_waits_for_relays_that_run() -> None:
    leader, synced = NewLeader(), False
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(gathered(leader.known, lambda: synced, loop.time() + 60))

    async def still_waits() -> bool:
        await asyncio.wait((waiting,), timeout=0.3)
        return not waiting.done()

    leader.attach("a")
    leader.attach("b")
    assert await still_waits(), "objects are missing"
    synced = True
    leader.known.forget("b")
    assert await still_waits(), "a relay is missing"
    leader.attach("b")
    async with asyncio.timeout(5):
        await waiting


async def test_the_first_plan_waits_for_objects_even_where_its_patience_is_over() -> None:
    leader, synced = NewLeader(), False
    past = asyncio.get_running_loop().time() - 1
    waiting = asyncio.create_task(gathered(leader.known, lambda: synced, past))
    await asyncio.wait((waiting,), timeout=0.3)
    assert not waiting.done()
    synced = True
    async with asyncio.timeout(5):
        await waiting


async def test_the_first_plan_waits_for_relays_no_longer_than_its_patience() -> None:
    leader = NewLeader()
    leader.known.put_pod(replace(leader.known.pods["b"], ready=True))
    async with asyncio.timeout(5):
        await gathered(leader.known, lambda: True, asyncio.get_running_loop().time() - 1)


def late() -> NewLeader:
    """The gate is on a relay that runs and is ready, and has not attached when the first plan is made."""
    leader = NewLeader()
    status = replace(written("default-1", "New"), pool=str(POOL))
    leader.known.put_camera(leader.known.cameras[GATE], CameraObject("u-gate", 1, status), GATE)
    leader.known.put_pod(replace(leader.known.pods["b"], ready=True))
    leader.attach("a")
    return leader


def test_a_relay_that_serves_and_is_late_keeps_its_cameras() -> None:
    leader = late()
    there = {GATE: ("b", "New"), SQUARE: ("a", "New"), HARBOUR: ("a", "New")}
    assert leader.placed() == there, "what is new does not wait for the late one"
    leader.now += UNHEARD_GRACE - 1
    assert leader.placed() == there
    leader.attach("b", GATE)
    leader.now += UNHEARD_GRACE
    assert leader.placed() == there


def test_a_relay_that_serves_and_never_comes_is_given_up() -> None:
    leader = late()
    leader.placed()
    leader.now += UNHEARD_GRACE
    assert leader.placed()[GATE] == ("a", "RelayGone")


def test_a_late_relay_is_given_up_at_once_where_its_pod_ends() -> None:
    leader = late()
    leader.placed()
    leader.known.put_pod(replace(leader.known.pods["b"], running=False, ready=False))
    assert leader.placed()[GATE] == ("a", "RelayGone")


def test_after_an_outage_relays_on_nodes_not_heard_of_yet_keep_their_cameras() -> None:
    leader = late()
    leader.known.nodes.after_outage()
    leader.known.put_node(Node("node", ready=False))
    leader.known.put_node(Node("other"))
    # Kubernetes says so of all pods on such a node.
    leader.known.put_pod(replace(leader.known.pods["b"], ready=False))
    assert leader.placed()[GATE] == ("b", "New")
    leader.now += UNHEARD_GRACE
    assert leader.placed()[GATE] == ("a", "RelayGone")
