"""What is known on a cluster: objects that come one by one, pods and nodes, and what they say of relays."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from pancar_operator.access import Access
from pancar_operator.model import (
    Assignment,
    Camera,
    CameraObject,
    CameraSpec,
    Credentials,
    CredentialsRef,
    Key,
    Metadata,
    Node,
    Pod,
    PoolObject,
    Refused,
    Relay,
    RelayPool,
    RelayPoolSpec,
    Source,
    Stream,
    Why,
    WhyRefused,
)
from pancar_operator.nodes import AFTER_OUTAGE
from pancar_operator.observe import DETACHED_GRACE, SECRET_GRACE, Endpoint, Known, MediaAddresses
from pancar_operator.report import CameraState, Report
from pancar_operator.statusfields import CameraStatus

GATE, HARBOUR, SECRET, POOL = Key("kota", "gate"), Key("kota", "harbour"), Key("kota", "key"), Key("pancar", "default")
ENDPOINT = Endpoint("https://10.0.0.7:8443", ())
PHRASE = Credentials("viewer", "hunter2")
POD = Pod("r1", "pancar", "default-0", POOL, 0, node="node-a", running=True, ready=True, revision="new")
RELAY = Relay("r1", POOL)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(clock: Clock) -> Known:
    known = Known(clock, POOL)
    known.put_pool(RelayPool(metadata=Metadata(name="default", namespace="pancar")), PoolObject("p", 1), POOL)
    known.changed.clear()
    return known


def camera(key: Key = GATE, *, secret: str = "", title: str = "") -> Camera:
    ref = CredentialsRef(name=secret) if secret else None
    source = Source(main=Stream(url="rtsp://192.0.2.1/"), credentials_ref=ref)
    return Camera(
        metadata=Metadata(name=key.name, namespace=key.namespace), spec=CameraSpec(source=source, title=title or None)
    )


ODD = Refused(WhyRefused.INVALID, "spec is odd")


def written(
    generation: int = 1, *, uid: str = "c", relay: str | None = None, refused: Refused | None = None
) -> CameraObject:
    return CameraObject(uid, generation, CameraStatus(relay=relay), refused)


def stirred(known: Known, what: Callable[[], object]) -> bool:
    """Whether `what` may change a plan or a status."""
    known.changed.clear()
    what()
    return known.changed.is_set()


def test_the_echo_of_a_status_changes_nothing_but_the_object(known: Known) -> None:
    known.put_camera(camera(), written(), GATE)
    placement = known.placements[GATE]
    assert not stirred(known, lambda: known.put_camera(camera(), written(relay="default-0"), GATE))
    assert known.placements[GATE] is placement
    assert known.objects[GATE].status.relay == "default-0"
    assert stirred(known, lambda: known.put_camera(camera(title="Gate"), written(2), GATE))
    assert known.placements[GATE].camera.spec.title == "Gate"
    assert stirred(known, lambda: known.put_camera(camera(title="Gate"), written(3), GATE)), "its relay must echo it"
    assert known.placements[GATE].generation == 3
    assert stirred(known, lambda: known.drop_camera(GATE))
    assert (known.cameras, known.placements, known.objects) == ({}, {}, {})
    assert not stirred(known, lambda: known.drop_camera(GATE))


def refusal(known: Known, *, saying: str) -> WhyRefused:
    """The reason why the gate is refused."""
    refused = known.objects[GATE].refused
    assert refused is not None
    assert saying in refused.message
    return refused.why


def test_a_camera_waits_for_its_secret(known: Known) -> None:
    known.put_camera(camera(secret="key"), written(), GATE)
    known.put_camera(camera(HARBOUR), written(), HARBOUR)
    assert known.cameras.keys() == {HARBOUR}
    assert known.refused == {GATE}
    assert refusal(known, saying="Secret kota/key, which is not there") is WhyRefused.UNRESOLVED
    assert not stirred(known, lambda: known.put_camera(camera(secret="key"), written(relay="x"), GATE))
    known.put_credentials(None, SECRET)
    assert refusal(known, saying="Secret kota/key, which holds no username and password") is WhyRefused.UNUSABLE
    assert stirred(known, lambda: known.put_credentials(PHRASE, SECRET))
    assert known.placements[GATE].credentials == PHRASE
    assert (known.refused, known.objects[GATE].refused) == (set(), None)
    assert known.objects[GATE].status.relay == "x"
    known.drop_camera(GATE)
    assert known.refused == set()
    known.put_credentials(PHRASE, SECRET)
    assert known.cameras.keys() == {HARBOUR}


def test_a_secret_that_is_replaced_takes_no_picture_away(known: Known, clock: Clock) -> None:
    known.put_credentials(PHRASE, SECRET)
    known.put_camera(camera(secret="key"), written(), GATE)
    assert stirred(known, lambda: known.drop_credentials(SECRET))
    assert known.expire() == SECRET_GRACE
    assert known.placements[GATE].credentials == PHRASE
    clock.now = SECRET_GRACE - 1
    assert known.expire() == 1
    known.put_credentials(Credentials("viewer", "other"), SECRET)
    assert known.expire() is None
    assert known.placements[GATE].credentials == Credentials("viewer", "other")
    known.drop_credentials(SECRET)
    clock.now += SECRET_GRACE
    assert stirred(known, known.expire)
    assert known.cameras == {}
    assert known.refused == {GATE}


def test_a_rotated_password_touches_its_cameras_alone(known: Known) -> None:
    known.put_credentials(PHRASE, SECRET)
    known.put_camera(camera(secret="key"), written(), GATE)
    known.put_camera(camera(HARBOUR), written(), HARBOUR)
    before = dict(known.placements)
    assert stirred(known, lambda: known.put_credentials(Credentials("viewer", "other"), SECRET))
    assert known.placements[GATE].credentials == Credentials("viewer", "other")
    assert known.placements[HARBOUR] is before[HARBOUR]
    assert not stirred(known, lambda: known.put_credentials(Credentials("viewer", "other"), SECRET))
    assert not stirred(known, lambda: known.put_credentials(PHRASE, Key("other", "key")))
    known.put_camera(camera(), written(2), GATE)
    assert known.placements[GATE].credentials is None
    assert not stirred(known, lambda: known.put_credentials(PHRASE, SECRET))


def test_a_refused_camera_is_in_its_object_alone(known: Known) -> None:
    known.put_camera(camera(), written(), GATE)
    assert stirred(known, lambda: known.put_camera(None, written(2, refused=ODD), GATE))
    assert (known.cameras, known.placements, known.refused) == ({}, {}, {GATE})
    assert known.objects[GATE].refused == ODD
    assert not stirred(known, lambda: known.put_camera(None, written(2, refused=ODD, relay="x"), GATE))
    assert stirred(known, lambda: known.put_camera(camera(), written(3), GATE))
    assert known.cameras.keys() == {GATE}
    assert not known.refused


def test_another_camera_of_the_same_name_begins_anew(known: Known) -> None:
    known.put_camera(camera(), written(), GATE)
    known.attach(RELAY, ENDPOINT)
    known.report(GATE, Report("r1", CameraState.LIVE, bitrate_kbps=4001))
    assert known.snapshot({}).bitrates == {GATE: 5}
    known.put_camera(camera(), written(uid="other"), GATE)
    assert known.reports == {}
    assert known.snapshot({}).bitrates == {}


def test_a_pool_that_is_refused_stays_what_it_was(known: Known) -> None:
    pool = known.pools[POOL]
    assert not stirred(known, lambda: known.put_pool(replace_size(pool, None), PoolObject("p", 1), POOL))
    assert stirred(known, lambda: known.put_pool(None, PoolObject("p", 2), POOL))
    assert known.pools[POOL] is pool
    assert stirred(known, lambda: known.put_pool(replace_size(pool, 3), PoolObject("p", 3), POOL))
    assert stirred(known, lambda: known.drop_pool(POOL))
    assert known.pools == {}, "a cluster has no pool that nobody declared"


def replace_size(pool: RelayPool, replicas: int | None) -> RelayPool:
    return RelayPool(metadata=pool.metadata, spec=RelayPoolSpec(replicas=replicas))


def test_a_relay_is_what_its_pod_says(known: Known) -> None:
    known.attach(Relay("r1", POOL, 100), ENDPOINT)
    known.attach(Relay("r2", Key("elsewhere", "x")), ENDPOINT)
    known.put_node(Node("node-a", zone="utara"))
    known.put_pod(POD)
    known.put_revision(POOL, "new")
    known.put_size(POOL, 4)
    known.put_size(Key("pancar", "gone"), 4)
    snapshot = known.snapshot({})
    named = Relay("r1", POOL, 100, name="default-0", ordinal=0, zone="utara")
    assert snapshot.relays == (named, Relay("r2", Key("elsewhere", "x")))
    assert snapshot.sizes == {POOL: 4}
    known.put_revision(POOL, "newer")
    known.put_size(POOL, None)
    snapshot = known.snapshot({})
    assert snapshot.relays[0] == replace(named, outdated=True)
    assert snapshot.sizes == {}
    known.put_pod(replace(POD, deleting=True))
    assert known.snapshot({}).relays[0].draining
    known.drop_pod("r1")
    assert known.snapshot({}).relays[0].draining, "it goes on for a moment"
    assert not known.snapshot({}).relays[1].draining


def test_only_what_changed_of_pods_and_nodes_counts(known: Known) -> None:
    assert stirred(known, lambda: known.put_pod(POD))
    assert not stirred(known, lambda: known.put_pod(replace(POD)))
    assert stirred(known, lambda: known.put_node(Node("node-a")))
    assert not stirred(known, lambda: known.put_node(Node("node-a")))
    assert stirred(known, lambda: known.put_addresses("r1", MediaAddresses(("192.0.2.1:30000",))))
    assert not stirred(known, lambda: known.put_addresses("r1", MediaAddresses(("192.0.2.1:30000",))))
    assert known.addresses("r1") == MediaAddresses(("192.0.2.1:30000",))
    assert stirred(known, lambda: known.put_size(POOL, 1))
    assert not stirred(known, lambda: known.put_size(POOL, 1))
    assert stirred(known, lambda: known.drop_pod("r1"))
    assert not stirred(known, lambda: known.drop_pod("r1"))
    assert known.addresses("r1") == MediaAddresses()
    assert stirred(known, lambda: known.drop_node("node-a"))


@pytest.mark.parametrize(
    "lost",
    [
        lambda known: known.drop_pod("r1"),
        lambda known: known.put_pod(replace(POD, running=False)),
        lambda known: known.put_node(Node("node-a", ready=False)),
    ],
    ids=["pod gone", "container ended", "node lost"],
)
def test_a_detached_relay_that_cannot_come_back_is_forgotten_at_once(
    known: Known, lost: Callable[[Known], None]
) -> None:
    known.put_node(Node("node-a"))
    known.put_node(Node("node-b"))
    known.put_pod(POD)
    known.attach(RELAY, ENDPOINT)
    known.detach("r1")
    assert known.expire() == DETACHED_GRACE
    assert stirred(known, lambda: lost(known))
    assert known.expire() is None
    assert known.relays == {}


def test_a_lost_node_counts_once_the_doubt_after_an_outage_is_over(known: Known, clock: Clock) -> None:
    known.put_node(Node("node-a", ready=False))
    known.put_node(Node("node-b"))
    known.put_pod(POD)
    known.nodes.after_outage()
    known.presume("r1")
    clock.now += AFTER_OUTAGE - 20
    assert known.expire() == 20
    assert known.relays.keys() == {"r1"}
    clock.now += 20
    known.expire()
    assert known.relays == {}


def test_an_attached_relay_is_kept_whatever_its_node_says(known: Known) -> None:
    known.put_pod(POD)
    known.attach(RELAY, ENDPOINT)
    known.put_node(Node("node-a", ready=False))
    assert known.expire() is None
    assert known.relays.keys() == {"r1"}


def test_a_relay_that_asks_is_drained_until_it_is_another_process(known: Known) -> None:
    known.attach(RELAY, ENDPOINT)
    assert stirred(known, lambda: known.drain("r1"))
    assert not stirred(known, lambda: known.drain("r1"))
    known.drain("unknown")
    assert known.snapshot({}).relays == (replace(RELAY, draining=True),)
    known.detach("r1")
    assert known.snapshot({}).relays[0].draining
    known.attach(RELAY, ENDPOINT)
    assert not known.snapshot({}).relays[0].draining


def test_relays_that_run_are_awaited_until_they_attach(known: Known) -> None:
    known.put_node(Node("node-a"))
    known.put_node(Node("node-b", ready=False))
    known.put_pod(POD)
    for uid, pod in {
        "r2": replace(POD, deleting=True),
        "r3": replace(POD, running=False),
        "r4": replace(POD, node="node-b"),
    }.items():
        known.put_pod(replace(pod, uid=uid))
    assert known.awaited() == {"r1"}
    known.attach(RELAY, ENDPOINT)
    assert known.awaited() == frozenset()
    known.detach("r1")
    assert known.awaited() == frozenset()


def test_what_relays_hold_is_claimed_until_they_live_by_a_new_state(known: Known) -> None:
    known.attach(RELAY, ENDPOINT, frozenset({GATE, HARBOUR}))
    known.attach(Relay("r2", POOL), ENDPOINT, frozenset({HARBOUR}))
    assert known.claims() == {GATE: "r1", HARBOUR: "r1"}
    known.put_pod(POD)
    known.put_pod(replace(POD, uid="r2", name="default-1", ordinal=1))
    known.put_camera(camera(HARBOUR), written(relay="default-1"), HARBOUR)
    assert known.claims() == {GATE: "r1", HARBOUR: "r2"}
    known.applied("r1", Access())
    assert known.claims() == {HARBOUR: "r2"}
    known.detach("r2")
    assert known.claims() == {HARBOUR: "r2"}, "it may come back"
    known.forget("r2")
    assert known.claims() == {}


def test_what_a_relay_tells_of_a_camera_it_holds_is_kept_for_when_the_camera_comes(known: Known) -> None:
    live = Report("r1", CameraState.LIVE)
    known.attach(RELAY, ENDPOINT, frozenset({GATE, HARBOUR}))
    known.report(GATE, live)
    known.report(HARBOUR, live)
    known.report(Key("kota", "square"), live)
    assert known.reports == {GATE: live, HARBOUR: live}
    known.put_camera(camera(secret="key"), written(), GATE)
    known.put_credentials(PHRASE, SECRET)
    assert known.reports == {GATE: live, HARBOUR: live}
    known.applied("r1", Access())
    assert known.reports == {GATE: live}


def test_a_camera_settles_when_its_relay_has_got_somewhere(known: Known) -> None:
    known.put_camera(camera(), written(), GATE)
    known.attach(RELAY, ENDPOINT)
    known.attach(Relay("r2", POOL), ENDPOINT)
    placed = {GATE: Assignment("r1", Why.NEW)}

    def unsettled() -> frozenset[Key]:
        return known.snapshot(placed).unsettled

    assert unsettled() == {GATE}
    known.report(GATE, Report("r1", CameraState.WAITING))
    assert unsettled() == {GATE}
    known.report(GATE, Report("r1", CameraState.OFFLINE, "Unauthorized"))
    assert unsettled() == frozenset()
    known.report(GATE, Report("r1", CameraState.LIVE))
    assert unsettled() == frozenset()
    placed = {GATE: Assignment("r2", Why.ROLLED)}
    assert unsettled() == {GATE}


def test_a_camera_is_fresh_on_a_relay_that_did_not_bring_it_along(known: Known) -> None:
    known.put_camera(camera(), written(), GATE)
    placed = {GATE: Assignment("r1", Why.NEW)}

    def fresh() -> frozenset[Key]:
        return known.snapshot(placed).fresh

    assert fresh() == frozenset(), "who knows what a relay does that is not there"
    known.attach(RELAY, ENDPOINT, frozenset([GATE]))
    assert fresh() == frozenset()
    known.attach(RELAY, ENDPOINT)
    assert fresh() == {GATE}
    known.detach("r1")
    assert fresh() == frozenset()
    known.attach(RELAY, ENDPOINT)
    known.report(GATE, Report("r1", CameraState.LIVE))
    assert fresh() == frozenset()
