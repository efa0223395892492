"""The differ's properties, with relays that apply and acknowledge whenever they like."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from pancar_operator.model import Assignment, Camera, CameraSpec, Key, Metadata, Placement, Source, Stream, Why
from pancar_operator.plan import Plan
from pancar_operator.steps import Assign, Holding, Observed, Release, Step, Update, diff

RELAYS = ("a", "b", "c")
KEYS = [Key("kota", f"camera-{number}") for number in range(6)]


def placement(key: Key, path: str = "") -> Placement:
    source = Source(main=Stream(url=f"rtsp://192.0.2.1/{path}"))
    return Placement(Camera(metadata=Metadata(name=key.name, namespace=key.namespace), spec=CameraSpec(source=source)))


def plan_of(assigned: dict[Key, str]) -> Plan:
    return Plan({key: Assignment(uid, Why.NEW) for key, uid in assigned.items()})


@dataclass
class FakeRelay:
    """What is sent to it waits in order; it pulls what it applied last."""

    desired: dict[Key, Placement] = field(default_factory=dict)
    sent: list[dict[Key, Placement]] = field(default_factory=list)
    acked: frozenset[Key] = frozenset()
    pulls: dict[Key, Placement] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        if isinstance(step, Release):
            del self.desired[step.camera]
        else:
            self.desired[step.camera] = step.placement

    def holding(self) -> Holding:
        return Holding(dict(self.desired), self.acked.union(*self.sent))

    def apply_one(self) -> None:
        self.pulls = self.sent.pop(0)
        self.acked = frozenset(self.pulls)


class World:
    def __init__(self) -> None:
        self.relays = {uid: FakeRelay() for uid in RELAYS}
        self.declared = {key: placement(key) for key in KEYS}
        self.assigned: dict[Key, str] = {}

    def reconcile(self) -> list[Step]:
        holdings = {uid: relay.holding() for uid, relay in self.relays.items()}
        steps = diff(plan_of(self.assigned), Observed(self.declared, holdings))
        for step in steps:
            self.relays[step.relay].take(step)
        for uid in {step.relay for step in steps}:
            self.relays[uid].sent.append(dict(self.relays[uid].desired))
        return steps

    def check_one_pull(self) -> None:
        for key in KEYS:
            assert sum(key in relay.pulls for relay in self.relays.values()) <= 1, "pulled twice"


actions = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), st.sampled_from(KEYS), st.sampled_from(RELAYS)),
        st.tuples(st.just("drop"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("edit"), st.sampled_from(KEYS), st.sampled_from(["x", "y"])),
        st.tuples(st.just("apply"), st.none(), st.sampled_from(RELAYS)),
        st.tuples(st.just("reconcile"), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(actions)
def test_no_camera_is_ever_pulled_twice_and_all_come_to_rest(
    history: list[tuple[str, Key | None, str | None]],
) -> None:
    world = World()
    for action, key, value in history:
        if action == "assign" and key is not None and value is not None:
            world.assigned[key] = value
        elif action == "drop" and key is not None:
            world.assigned.pop(key, None)
        elif action == "edit" and key is not None and value is not None:
            world.declared[key] = placement(key, value)
        elif action == "apply" and value is not None and world.relays[value].sent:
            world.relays[value].apply_one()
        elif action == "reconcile":
            world.reconcile()
        world.check_one_pull()
    for _ in range(4):
        world.reconcile()
        for relay in world.relays.values():
            while relay.sent:
                relay.apply_one()
                world.check_one_pull()
    for uid, relay in world.relays.items():
        assert relay.pulls == {key: world.declared[key] for key, at in world.assigned.items() if at == uid}
    assert world.reconcile() == [], "at rest nothing is sent"


def test_a_move_releases_first_and_assigns_when_the_release_is_acknowledged() -> None:
    key = KEYS[0]
    declared = {key: placement(key)}
    moving = plan_of({key: "b"})
    held = Holding({key: declared[key]}, frozenset([key]))
    assert diff(moving, Observed(declared, {"a": held, "b": Holding({})})) == [Release("a", key)]
    released = Holding({}, frozenset([key]))
    assert diff(moving, Observed(declared, {"a": released, "b": Holding({})})) == []
    acknowledged = Holding({})
    assert diff(moving, Observed(declared, {"a": acknowledged, "b": Holding({})})) == [Assign("b", key, declared[key])]


def test_an_edit_touches_the_edited_camera_alone() -> None:
    declared = {key: placement(key) for key in KEYS}
    assigned = plan_of(dict.fromkeys(KEYS, "a"))
    holding = Holding(dict(declared), frozenset(KEYS))
    edited = {**declared, KEYS[2]: placement(KEYS[2], "other")}
    assert diff(assigned, Observed(edited, {"a": holding})) == [Update("a", KEYS[2], edited[KEYS[2]])]
    # The same content in other objects is no change.
    copies = {key: placement(key) for key in KEYS}
    assert diff(assigned, Observed(copies, {"a": holding})) == []


def test_a_relay_that_is_not_attached_yet_is_left_out() -> None:
    declared = {KEYS[0]: placement(KEYS[0])}
    assert diff(plan_of({KEYS[0]: "elsewhere"}), Observed(declared, {})) == []
