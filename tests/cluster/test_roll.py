"""A changed template reaches every relay: pod by pod, the next when the one before is attached and ready."""

import asyncio
from collections.abc import Iterator

import pytest
from rigs.cluster.kube import Kube
from rigs.cluster.running import Cluster
from rigs.definitions import defined
from rigs.running_fleet import RunningFleet, pool, running_fleet
from rigs.waiting import eventually

BOTH = {"city-0", "city-1"}


@pytest.fixture
def own(cluster: Cluster, namespace: str) -> Iterator[Kube]:
    with defined(cluster.kube, "RelayPool"):
        yield cluster.kube.within(namespace)


def ready(running: RunningFleet) -> set[str]:
    return running.pods(lambda pod: pod.ready and not pod.deleting)


def working(running: RunningFleet) -> set[str]:
    return running.pods(lambda pod: pod.ready and not pod.deleting and pod.uid in running.known.relays)


async def test_relays_are_replaced_one_by_one(own: Kube, namespace: str, relay_image: str) -> None:
    async with running_fleet(own.kubeconfig, namespace, relay_image) as running:
        running.attaching = True
        own.apply(pool(replicas=2))
        await eventually(lambda: working(running) == BOTH, "two relays", seconds=60)
        before = set(running.known.pods)
        running.attaching = False
        own.apply(pool(replicas=2, template={"metadata": {"annotations": {"example.com/changed": "yes"}}}))

        # The highest ordinal first; the other waits, for the new relay is ready and does not attach.
        await eventually(lambda: running.known.pods.keys() - before and ready(running) == BOTH, "one", seconds=90)
        await asyncio.sleep(2)
        [new] = running.known.pods.keys() - before
        assert running.known.pods[new].name == "city-1"

        fewest = 2
        running.attaching = True
        running.known.changed.set()

        def rolled() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(ready(running)))
            return not (running.known.pods.keys() & before) and ready(running) == BOTH

        await eventually(rolled, "both", seconds=90)
        assert fewest == 1
        assert len({pod.revision for pod in running.known.pods.values()}) == 1


async def test_a_template_that_cannot_work_stops_at_the_first_relay_and_is_mended(
    own: Kube, namespace: str, relay_image: str
) -> None:
    async with running_fleet(own.kubeconfig, namespace, relay_image) as running:
        running.attaching = True
        own.apply(pool(replicas=2))
        await eventually(lambda: working(running) == BOTH, "two relays", seconds=60)
        nowhere = {"spec": {"nodeSelector": {"example.com/nowhere": "yes"}}}
        own.apply(pool(replicas=2, template=nowhere))

        def told() -> bool:
            return any("didn't match Pod's node affinity/selector" in why for why in running.fleet.trouble.values())

        await eventually(told, "why it finds no node", seconds=90)
        assert ready(running) == {"city-0"}
        own.apply(pool(replicas=2))
        # The one that works was never touched: it is of the template that is wanted again.
        await eventually(lambda: ready(running) == BOTH and not running.fleet.trouble, "mended", seconds=60)
