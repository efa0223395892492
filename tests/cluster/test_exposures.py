"""Relays in real pods under each exposure: admitted where they should be, ready, and reached where viewers look."""

import asyncio
import ssl
from collections.abc import Iterator

import aiohttp
import pytest
from pancar_operator.model import Exposure, Pod
from pancar_operator.specs import HTTPS_PORT
from rigs.cluster.kube import Kube
from rigs.cluster.running import Cluster
from rigs.definitions import defined
from rigs.running_fleet import pool, running_fleet
from rigs.waiting import eventually

ON_NODE = (Exposure.HOST_PORT, Exposure.HOST_NETWORK)


@pytest.fixture(scope="module")
def pools(cluster: Cluster) -> Iterator[Kube]:
    with defined(cluster.kube, "RelayPool"):
        yield cluster.kube


def https(kube: Kube, pod: Pod, exposure: Exposure) -> str:
    """Where viewers reach its HTTPS; the address of a load balancer is one that there is none behind here."""
    if exposure is Exposure.NODE_PORT:
        ports = kube.get(f"service/{pod.name}")["spec"]["ports"]
        return f"{pod.host_ip}:{next(port['nodePort'] for port in ports if port['name'] == 'https')}"
    if exposure is Exposure.LOAD_BALANCER:
        return f"{kube.get(f'service/{pod.name}')['spec']['clusterIP']}:{HTTPS_PORT}"
    return f"{pod.host_ip if exposure in ON_NODE else pod.ip}:{HTTPS_PORT}"


async def status(url: str) -> int:
    # Its certificate is its own until an operator gives it one.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
        session.get(url, ssl=context) as answer,
    ):
        return answer.status


@pytest.mark.parametrize("exposure", Exposure)
async def test_relays_are_ready_and_reached(pools: Kube, namespace: str, relay_image: str, exposure: Exposure) -> None:
    own = pools.within(namespace)
    level = "privileged" if exposure in ON_NODE else "restricted"
    own("label", "namespace", namespace, f"pod-security.kubernetes.io/enforce={level}")
    async with running_fleet(own.kubeconfig, namespace, relay_image) as running:
        own.apply(pool(replicas=2, media={"exposure": exposure}))
        await eventually(lambda: running.pods(lambda pod: pod.ready) == {"city-0", "city-1"}, "ready", seconds=60)
        pods = [*running.known.pods.values()]
        assert len({pod.node for pod in pods}) == 2
        for pod in pods:
            address = await asyncio.to_thread(https, own, pod, exposure)
            assert await status(f"https://{address}/readyz") == 200
            has_address = bool(running.known.addresses(pod.uid).udp)
            assert has_address is (exposure is Exposure.NODE_PORT)
