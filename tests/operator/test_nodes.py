"""Which nodes are lost, and which were only not heard of."""

from pancar_operator.model import Node
from pancar_operator.nodes import AFTER_OUTAGE, Nodes


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def there(clock: Clock, **ready: bool) -> Nodes:
    nodes = Nodes(clock)
    for name, is_ready in ready.items():
        nodes.put(Node(name, ready=is_ready))
    return nodes


def test_a_node_that_is_not_ready_is_lost_and_one_that_is_again_is_not() -> None:
    nodes = there(Clock(), a=True, b=False, c=True)
    assert nodes.lost == {"b"}
    assert nodes.put(Node("b"))
    assert nodes.lost == frozenset()
    nodes.put(Node("a", ready=False))
    assert nodes.lost == {"a"}
    assert nodes.drop("a")
    assert not nodes.drop("a")
    assert (nodes.lost, nodes.names) == (frozenset(), {"b", "c"})


def test_where_none_is_heard_of_none_is_lost() -> None:
    nodes = there(Clock(), a=False, b=False)
    assert nodes.lost == frozenset()
    nodes.put(Node("a"))
    assert nodes.lost == {"b"}
    assert there(Clock(), a=False).lost == frozenset()
    assert there(Clock()).lost == frozenset()


def test_after_an_outage_nodes_are_given_time() -> None:
    clock = Clock()
    nodes = there(clock, a=True, b=False)
    assert nodes.doubt() is None
    nodes.after_outage()
    clock.now += AFTER_OUTAGE - 5
    assert (nodes.lost, nodes.doubt()) == (frozenset(), 5)
    clock.now += 5
    assert nodes.lost == {"b"}
    assert nodes.doubt() is None


def test_zones_are_told_of_nodes_that_have_one() -> None:
    nodes = there(Clock())
    nodes.put(Node("a", zone="utara"))
    nodes.put(Node("b"))
    assert [nodes.zone(name) for name in ("a", "b", "c")] == ["utara", "", ""]
