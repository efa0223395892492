"""Which pods the operator ends: those of lost nodes, broken outdated ones, and rolled ones one by one."""

from dataclasses import replace

from pancar_operator.endings import End, Ending, Present, endings
from pancar_operator.model import Assignment, Key, Pod, Why
from pancar_operator.plan import Plan

POOL, OTHER = Key("kota", "city"), Key("kota", "police")
OLD, NEW = "city-old", "city-new"
CAMERA = Key("kota", "gate")


def pod(ordinal: int, *, pool: Key = POOL, revision: str = NEW, ready: bool = True, node: str = "a") -> Pod:
    name = f"{pool.name}-{ordinal}"
    return Pod(
        uid=name, namespace=pool.namespace, name=name, pool=pool, ordinal=ordinal, node=node, ready=ready,
        running=True, revision=revision,
    )  # fmt: skip


def present(*pods: Pod, attached: set[str] | None = None, lost: str = "", size: int | None = None) -> Present:
    pools = {pod.pool for pod in pods}
    return Present(
        pods={pod.uid: pod for pod in pods},
        nodes={"a", "b"},
        lost={lost} if lost else set(),
        attached={pod.uid for pod in pods} if attached is None else attached,
        sizes={pool: sum(pod.pool == pool for pod in pods) if size is None else size for pool in pools},
        revisions=dict.fromkeys(pools, NEW),
    )


def on(uid: str, *replaceable: str) -> Plan:
    """A plan with a camera on the relay."""
    return Plan(assignments={CAMERA: Assignment(uid, Why.NEW)}, replaceable=frozenset(replaceable))


def names(ends: list[End]) -> list[tuple[str, Ending]]:
    return [(end.pod.name, end.why) for end in ends]


def test_what_works_and_is_of_the_current_template_stays() -> None:
    assert endings(Plan(replaceable=frozenset({"city-0"})), present(pod(0), pod(1, ready=False), attached=set())) == []


def test_a_pod_on_a_lost_node_ends_once_no_camera_rests_on_it() -> None:
    there = present(pod(0), pod(1, node="b"), lost="b", attached={"city-0"})
    assert endings(on("city-1"), there) == []
    assert names(endings(on("city-0"), there)) == [("city-1", Ending.NODE_LOST)]


def test_a_relay_that_is_attached_from_a_lost_node_is_left_alone() -> None:
    assert endings(Plan(), present(pod(0), lost="a")) == []


def test_a_pod_that_is_being_deleted_on_a_lost_node_ends_too() -> None:
    for one, lost in ((pod(0), "a"), (pod(0, node="c"), "")):
        there = present(replace(one, deleting=True), lost=lost, attached=set())
        assert names(endings(Plan(), there)) == [("city-0", Ending.NODE_LOST)]


def test_a_pod_on_a_node_that_nothing_is_known_of_yet_stays() -> None:
    assert endings(Plan(), present(pod(0, node="new"), pod(1, node=""), attached=set())) == []


def test_outdated_pods_that_serve_nothing_all_end_at_once() -> None:
    broken = [pod(0, revision=OLD, ready=False), pod(1, revision=OLD, ready=False), pod(2, ready=False)]
    assert names(endings(Plan(), present(*broken, attached=set()))) == [
        ("city-0", Ending.OUTDATED_BROKEN),
        ("city-1", Ending.OUTDATED_BROKEN),
    ]
    assert endings(on("city-0"), present(broken[0], attached=set())) == []
    assert endings(Plan(), present(broken[0])) == []


def test_a_roll_takes_the_highest_ordinal_that_the_plan_lets_go_of() -> None:
    pods = [pod(ordinal, revision=OLD) for ordinal in range(3)]
    assert names(endings(on("city-2", "city-0", "city-1"), present(*pods))) == [("city-1", Ending.ROLLED)]


def test_a_roll_waits_for_the_one_before_to_attach_and_be_ready() -> None:
    plan = Plan(replaceable=frozenset({"city-0"}))
    old = pod(0, revision=OLD)
    assert endings(plan, present(old, pod(1, ready=False))) == []
    assert endings(plan, present(old, pod(1), attached={"city-0"})) == []
    assert endings(plan, present(old, replace(pod(1), deleting=True))) == []
    assert endings(plan, present(old, size=2)) == []
    assert names(endings(plan, present(old, pod(1)))) == [("city-0", Ending.ROLLED)]


def test_pools_roll_apart() -> None:
    pods = [pod(0, revision=OLD), pod(0, pool=OTHER, revision=OLD), pod(1, pool=OTHER, ready=False)]
    assert names(endings(Plan(replaceable=frozenset({"city-0", "police-0"})), present(*pods))) == [
        ("city-0", Ending.ROLLED)
    ]


def test_outdated_pods_that_never_attach_are_rolled_one_by_one() -> None:
    """As after the operator's address changed: they serve by what they were told last, and wait for nobody."""
    pods = [pod(ordinal, revision=OLD) for ordinal in range(3)]
    assert names(endings(Plan(), present(*pods, attached=set()))) == [("city-2", Ending.ROLLED)]
    pods[2] = pod(2)
    assert endings(Plan(), present(*pods, attached=set())) == []
    assert names(endings(Plan(), present(*pods, attached={"city-2"}))) == [("city-1", Ending.ROLLED)]


def test_an_outdated_pod_on_a_lost_node_ends_once() -> None:
    lost = present(pod(0, revision=OLD, ready=False), attached=set(), lost="a")
    assert names(endings(Plan(replaceable=frozenset({"city-0"})), lost)) == [("city-0", Ending.NODE_LOST)]
