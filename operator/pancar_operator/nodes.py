"""The cluster's nodes, and which of them are lost; kept by `observe.Known`.

Kubernetes calls a node not ready when it has not heard of it. Where it has heard of none, as Kubernetes' own controller
has it too, or comes back from an outage of the API server, that says nothing of the nodes: their pods run.
"""

from collections.abc import Callable, Set
from typing import Final

from pancar_operator.model import Node

# For so long after an outage nodes are given time to be heard of again.
AFTER_OUTAGE: Final = 75.0


class Nodes:
    """By name, as the API server has them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._nodes: dict[str, Node] = {}
        self._silent: frozenset[str] = frozenset()
        self._doubted_until = now()

    @property
    def names(self) -> Set[str]:
        return self._nodes.keys()

    @property
    def lost(self) -> frozenset[str]:
        """Those whose pods run no more, as far as can be told."""
        return self._silent if self.doubt() is None and len(self._silent) < len(self._nodes) else frozenset()

    def zone(self, name: str) -> str:
        """Empty where it has none, or is unknown."""
        node = self._nodes.get(name)
        return node.zone if node is not None else ""

    def put(self, node: Node) -> bool:
        """Whether that is news."""
        if self._nodes.get(node.name) == node:
            return False
        self._nodes[node.name] = node
        self._count()
        return True

    def drop(self, name: str) -> bool:
        """Whether it was there."""
        there = self._nodes.pop(name, None) is not None
        self._count()
        return there

    def after_outage(self) -> None:
        """The API server was away: no node is lost until they had time to be heard of."""
        self._doubted_until = self._now() + AFTER_OUTAGE

    def doubt(self) -> float | None:
        """Seconds until what is said of nodes counts again; None where it does."""
        left = self._doubted_until - self._now()
        return left if left > 0 else None

    def _count(self) -> None:
        self._silent = frozenset(name for name, node in self._nodes.items() if not node.ready)
