"""Which relays' pods the operator deletes, and why: `endings(...)`, pure, called by `fleet` in each round.

Drains and evictions are others' to begin. The operator ends three kinds of pods: those of a lost node, which nobody
else would; outdated ones that serve nothing; and outdated ones that the plan has emptied, one at a time in a pool.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pancar_operator.model import Key, Pod
from pancar_operator.plan import Plan


class Ending(StrEnum):
    """Why a pod is deleted."""

    # Without waiting for its node, which cannot answer.
    NODE_LOST = "NodeLost"
    # It is of an older template and does not work: a newer one may mend it.
    OUTDATED_BROKEN = "OutdatedBroken"
    ROLLED = "Rolled"


class End(NamedTuple):
    pod: Pod
    why: Ending


@dataclass(frozen=True, slots=True)
class Present:
    """What there is, beside the plan."""

    pods: Mapping[str, Pod]
    # Names of the nodes there are, and of those that are lost.
    nodes: Set[str]
    lost: Set[str]
    # Relays with a stream to the operator.
    attached: Set[str]
    # Relays that each pool shall have, and the revision of its template, where that is known.
    sizes: Mapping[Key, int]
    revisions: Mapping[Key, str]


def endings(plan: Plan, present: Present) -> list[End]:
    """The pods to delete now; those of a lost node first."""
    lost = {pod.uid: pod for pod in present.pods.values() if _on_lost_node(pod, present)}
    outdated = [
        pod
        for pod in present.pods.values()
        if not pod.deleting and pod.uid not in lost and _outdated(pod, present.revisions)
    ]
    if not lost and not outdated:
        return []
    resting = {assignment.relay for assignment in plan.assignments.values()}
    # Who is attached still runs, whatever has become of the kubelet.
    silent = [pod for pod in lost.values() if pod.uid not in present.attached]
    found = [End(pod, Ending.NODE_LOST) for pod in silent if pod.uid not in resting]
    rolling: list[Pod] = []
    for pod in outdated:
        stray = pod.uid not in present.attached and pod.uid not in resting
        if stray and not pod.ready:
            found.append(End(pod, Ending.OUTDATED_BROKEN))
        elif stray or pod.uid in plan.replaceable:
            rolling.append(pod)
    for pool in dict.fromkeys(pod.pool for pod in rolling):
        candidates = [pod for pod in rolling if pod.pool == pool]
        if not _awaited(pool, candidates, present, {end.pod.uid for end in found}):
            # One that is not attached has no say in what it serves, and goes first.
            pod = max(candidates, key=lambda pod: (pod.uid not in present.attached, pod.ordinal))
            found.append(End(pod, Ending.ROLLED))
    return found


def _on_lost_node(pod: Pod, present: Present) -> bool:
    if pod.node not in present.nodes:
        # Its node was taken out of the cluster; or it is so new that nothing is known of it yet.
        return bool(pod.node) and pod.deleting
    return pod.node in present.lost


def _outdated(pod: Pod, revisions: Mapping[Key, str]) -> bool:
    revision = revisions.get(pod.pool, "")
    return bool(revision and pod.revision) and pod.revision != revision


def _awaited(pool: Key, candidates: list[Pod], present: Present, ending: Set[str]) -> set[int]:
    """The ordinals of the pool whose relays do not work yet, and are no candidates themselves."""
    working = {
        pod.ordinal
        for uid, pod in present.pods.items()
        if pod.pool == pool and pod.ready and not pod.deleting and uid in present.attached and uid not in ending
    }
    return set(range(present.sizes.get(pool, 0))) - working - {pod.ordinal for pod in candidates}
