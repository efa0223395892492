"""The objects of a pool on a real API server: made, kept, scaled, left alone at rest, and never taken from others."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pancar_operator.model import Key
from rigs.cluster.kube import Kube
from rigs.definitions import defined
from rigs.running_fleet import RunningFleet, pool, running_fleet
from rigs.waiting import eventually

# No node has it: pods are made, and do not start.
IMAGE = "local.test/nobody-has-this:1"
OBJECTS = ("configmap/city-authorities", "service/city", "poddisruptionbudget/city", "statefulset/city")
REST_SECONDS = 3.0


@pytest.fixture(scope="module")
def pools(kube: Kube) -> Iterator[Kube]:
    """RelayPool is known there."""
    with defined(kube, "RelayPool"):
        yield kube


@pytest.fixture
def own(pools: Kube, namespace: str) -> Kube:
    return pools.within(namespace)


@contextlib.asynccontextmanager
async def fleet(kube: Kube, namespace: str) -> AsyncIterator[RunningFleet]:
    async with running_fleet(kube.kubeconfig, namespace, IMAGE) as running:
        yield running


async def call(kube: Kube, *arguments: str) -> str:
    return await asyncio.to_thread(kube, *arguments)


async def declare(kube: Kube, **spec: Any) -> None:
    await asyncio.to_thread(kube.apply, pool(**spec))


async def names(kube: Kube, kind: str) -> set[str]:
    listed = await call(kube, "get", kind, "--output=name", "--selector=pancar.dev/pool")
    return {line.split("/")[1] for line in listed.split()}


async def made(kube: Kube, replicas: int) -> None:
    await eventually(lambda: _size(kube, replicas), f"a StatefulSet of {replicas}")


async def _size(kube: Kube, replicas: int) -> bool:
    found = await call(kube, "get", "statefulset/city", "--ignore-not-found", "--output=json")
    return bool(found) and json.loads(found)["spec"]["replicas"] == replicas


async def written(kube: Kube) -> dict[str, str]:
    """When the operator last applied each object, and what version of it there is but for its status."""
    found = {}
    for name in OBJECTS:
        body = await asyncio.to_thread(kube.get, name, "--show-managed-fields")
        [time] = [entry["time"] for entry in body["metadata"]["managedFields"] if entry["manager"] == "pancar-operator"]
        found[name] = f"{body['metadata']['uid']} {body['metadata'].get('generation')} {time}"
    return found


async def test_a_pool_gets_its_objects_and_pods(own: Kube, namespace: str) -> None:
    await declare(own, replicas=2)
    async with fleet(own, namespace) as running:
        await eventually(lambda: running.pods() == {"city-0", "city-1"}, "two pods")
        for name in OBJECTS:
            await call(own, "get", name)
        pods = [*running.known.pods.values()]
        await eventually(lambda: running.known.snapshot({}).sizes == {Key(namespace, "city"): 2}, "the size is told")
        assert len({pod.revision for pod in pods}) == 1


async def test_at_rest_and_after_a_restart_nothing_is_written(own: Kube, namespace: str) -> None:
    await declare(own, replicas=1)
    async with fleet(own, namespace) as running:
        await eventually(lambda: running.pods() == {"city-0"}, "its pod")
        before = await written(own)
        await asyncio.sleep(REST_SECONDS)
        assert await written(own) == before
    async with fleet(own, namespace) as running:
        await eventually(lambda: running.plan.replicas, "a plan")
        await asyncio.sleep(REST_SECONDS)
        assert await written(own) == before
        assert running.fleet.trouble == {}


async def test_a_pool_without_autoscaling_is_scaled_with_kubectl(own: Kube, namespace: str) -> None:
    await declare(own)
    async with fleet(own, namespace):
        await made(own, 1)
        await call(own, "scale", "relaypool/city", "--replicas=3")
        await made(own, 3)
        await call(own, "scale", "relaypool/city", "--replicas=0")
        await made(own, 0)


async def test_what_others_delete_or_change_is_put_right(own: Kube, namespace: str) -> None:
    await declare(own, replicas=0)
    async with fleet(own, namespace):
        await made(own, 0)
        await call(own, "scale", "statefulset/city", "--replicas=5")
        await made(own, 0)
        await call(own, "delete", *OBJECTS)

        async def back() -> bool:
            found = await call(own, "get", "--ignore-not-found", "--output=name", *OBJECTS)
            return len(found.split()) == len(OBJECTS)

        await eventually(back, "all is made anew")


async def test_services_come_and_go_with_pods_and_exposure(own: Kube, namespace: str) -> None:
    async def services(*expected: str) -> None:
        async def there() -> bool:
            return await names(own, "service") == {"city", *expected}

        await eventually(there, f"services {expected}")

    await declare(own, replicas=2, media={"exposure": "NodePort"})
    async with fleet(own, namespace) as running:
        await services("city-0", "city-1")
        await eventually(
            lambda: running.pods() and all(running.known.addresses(uid).udp for uid in running.known.pods), "addresses"
        )
        nodes = {pod.host_ip for pod in running.known.pods.values()}
        [_, udp, tcp] = (await asyncio.to_thread(own.get, "service/city-0"))["spec"]["ports"]
        pod = running.pod("city-0")
        assert pod is not None
        reached = running.known.addresses(pod.uid)
        assert reached.udp == (f"{pod.host_ip}:{udp['nodePort']}",)
        assert reached.tcp == (f"{pod.host_ip}:{tcp['nodePort']}",)
        assert pod.host_ip in nodes
        await declare(own, replicas=1, media={"exposure": "NodePort"})
        await services("city-0")
        await declare(own, replicas=1, media={"exposure": "LoadBalancer"})
        await eventually(lambda: running.known.addresses(pod.uid).udp == (), "it has no address yet")
        balancer = {"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}}
        patch = ("patch", "service/city-0", "--subresource=status", "--type=merge", f"--patch={json.dumps(balancer)}")
        await call(own, *patch)
        await eventually(lambda: running.known.addresses(pod.uid).tcp == ("198.51.100.7:8801",), "it is told")
        await declare(own, replicas=1)
        await services()
        await eventually(lambda: running.known.addresses(pod.uid).udp == (), "it is told")


async def test_what_belongs_to_others_is_left_to_them(own: Kube, namespace: str) -> None:
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "city"}, "spec": {"ports": [{"port": 80}]}}
    await asyncio.to_thread(own.apply, theirs)
    await declare(own, replicas=0)
    async with fleet(own, namespace) as running:
        trouble = await eventually(lambda: running.fleet.trouble.get(Key(namespace, "city")), "trouble")
        assert trouble.startswith(f"Service {namespace}/city exists and belongs to another.")
        assert (await asyncio.to_thread(own.get, "service/city"))["spec"]["ports"][0]["port"] == 80
        # The rest is there all the same.
        await made(own, 0)
        await call(own, "delete", "service/city")
        await eventually(lambda: not running.fleet.trouble, "it is over")
        assert (await asyncio.to_thread(own.get, "service/city"))["spec"]["clusterIP"] == "None"


async def test_what_a_deleted_pool_left_behind_is_taken_up_again(own: Kube, namespace: str) -> None:
    await declare(own, replicas=0)
    async with fleet(own, namespace) as running:
        await made(own, 0)
        before = (await asyncio.to_thread(own.get, "statefulset/city"))["metadata"]["uid"]
        await call(own, "delete", "relaypool/city", "--cascade=orphan")
        await eventually(lambda: not running.known.pool_objects, "the pool is gone")
        await declare(own, replicas=2)
        await made(own, 2)
        assert (await asyncio.to_thread(own.get, "statefulset/city"))["metadata"]["uid"] == before


async def test_a_refused_template_and_forbidden_pods_say_why(own: Kube, namespace: str) -> None:
    await call(own, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    await declare(own, replicas=1, template={"spec": {"tolerations": [{"operator": "Equal", "value": "x"}]}})
    async with fleet(own, namespace) as running:

        def says(words: str) -> bool:
            return words in running.fleet.trouble.get(Key(namespace, "city"), "")

        await eventually(lambda: says("operator must be Exists when `key` is empty"), "why the template is refused")
        await declare(own, replicas=1, media={"exposure": "HostPort"})
        await eventually(lambda: says('violates PodSecurity "restricted:latest": hostPort'), "why")
        await declare(own, replicas=1)
        await eventually(lambda: running.pods() and not running.fleet.trouble, "it is over")


async def test_a_pool_takes_its_objects_with_it(own: Kube, namespace: str) -> None:
    await declare(own, replicas=1, media={"exposure": "NodePort"})
    async with fleet(own, namespace) as running:
        await eventually(running.pods, "its pod")
        await call(own, "delete", "relaypool/city")

        async def gone() -> bool:
            found = await call(
                own, "get", "--ignore-not-found", "--output=name", *OBJECTS, "service/city-0", "pod/city-0"
            )
            return not found

        await eventually(gone, "all is gone")
        await asyncio.sleep(1)
        assert await gone()
        assert running.known.snapshot({}).sizes == {}
