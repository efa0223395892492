"""Relays prove what they are by their pods' tokens, to a real API server; everybody else is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pancar_operator.api import POOLS, Api
from pancar_operator.authority import Enrolled
from pancar_operator.enrol import NotPermitted, Unauthenticated, Unverifiable
from pancar_operator.model import Key
from pancar_operator.observe import Known, MediaAddresses
from pancar_operator.specs import POOL_LABEL, TOKEN_AUDIENCE
from pancar_operator.tokenreview import PodTokens
from rigs.cluster.kube import Kube
from rigs.definitions import defined

# No node has it: the pods are there and never run.
NOWHERE = {"nodeSelector": {"pancar.dev/nowhere": "true"}}


@pytest.fixture(scope="module", autouse=True)
def pools_defined(kube: Kube) -> Iterator[None]:
    with defined(kube, "RelayPool"):
        yield


def pool(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": POOLS.api_version,
        "kind": "RelayPool",
        "metadata": {"name": "harbour", "namespace": namespace},
    }


def pod_spec(**more: Any) -> dict[str, Any]:
    return {**NOWHERE, "containers": [{"name": "relay", "image": "none.invalid/relay", **more}]}


def stateful_set(namespace: str, name: str = "harbour", **more: Any) -> dict[str, Any]:
    labels = {POOL_LABEL: name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(**more)}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serviceName": name, "selector": {"matchLabels": labels}, "template": template},
    }


async def token(kube: Kube, namespace: str, pod: str, audience: str = TOKEN_AUDIENCE) -> str:
    """What the kubelet gives a pod."""
    command = ("create", "token", "default", f"--namespace={namespace}", f"--audience={audience}")
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
    return (await asyncio.to_thread(kube, *command, *bound)).strip()


@pytest.fixture
async def tokens(kube: Kube) -> AsyncIterator[PodTokens]:
    async with Api.connect(kube.kubeconfig) as api:
        yield PodTokens(api, Known(lambda: 0.0))


async def relay(kube: Kube, namespace: str, **more: Any) -> Key:
    """A pod of a relay, as far as the API server is concerned."""
    await asyncio.to_thread(kube.apply, pool(namespace), stateful_set(namespace, **more))
    await asyncio.to_thread(kube.until, "create", "pod/harbour-0", f"--namespace={namespace}")
    return Key(namespace, "harbour-0")


async def test_a_relays_pod_is_who_it_is(kube: Kube, namespace: str, tokens: PodTokens) -> None:
    pod = await relay(kube, namespace)
    uid = kube.get("pod", pod.name, f"--namespace={namespace}")["metadata"]["uid"]
    proof = await token(kube, namespace, pod.name)
    with pytest.raises(Unverifiable, match=f"pod {pod} has no address yet"):
        await tokens.verify(proof)
    await asyncio.to_thread(_patch_status, kube, pod, {"podIP": "10.9.8.7", "podIPs": [{"ip": "10.9.8.7"}]})
    assert await tokens.verify(proof) == Enrolled(uid, Key(namespace, "harbour"), pod.name, ("10.9.8.7",))
    await asyncio.to_thread(
        kube, "delete", "pod", pod.name, f"--namespace={namespace}", "--force", "--grace-period=0", "--wait"
    )

    async def refused() -> bool:
        """In either way: the API server remembers for seconds what it found out about a token."""
        try:
            await tokens.verify(proof)
        except (Unauthenticated, NotPermitted):
            return True
        return False

    assert await refused()
    await asyncio.to_thread(kube.until, "create", "pod/harbour-0", f"--namespace={namespace}")
    assert await refused(), "its successor bears its name"


async def test_addresses_are_those_of_the_pod_and_of_what_leads_to_it(kube: Kube, namespace: str) -> None:
    pod = await relay(kube, namespace, ports=[{"containerPort": 8443, "hostPort": 8443}])
    own, host = "10.9.8.7", "192.0.2.1"
    status = {"podIP": own, "podIPs": [{"ip": own}], "hostIP": host, "hostIPs": [{"ip": host}]}
    await asyncio.to_thread(_patch_status, kube, pod, status)
    uid = kube.get("pod", pod.name, f"--namespace={namespace}")["metadata"]["uid"]
    known = Known(lambda: 0.0)
    known.put_addresses(uid, MediaAddresses(udp=("198.51.100.4:8801", "[2001:db8::4]:8801")))
    async with Api.connect(kube.kubeconfig) as api:
        enrolled = await PodTokens(api, known).verify(await token(kube, namespace, pod.name))
    assert enrolled.addresses == (own, host, "198.51.100.4", "2001:db8::4")


def _patch_status(kube: Kube, pod: Key, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    kube(
        "patch", "pod", pod.name, f"--namespace={pod.namespace}", "--subresource=status", "--type=merge", f"-p={patch}"
    )


async def test_tokens_that_prove_nothing_are_refused(kube: Kube, namespace: str, tokens: PodTokens) -> None:
    pod = await relay(kube, namespace)
    with pytest.raises(Unauthenticated, match="not vouch"):
        await tokens.verify("nonsense")
    with pytest.raises(Unauthenticated, match="not vouch"):
        await tokens.verify(await token(kube, namespace, pod.name, audience="https://kubernetes.default.svc"))
    unbound = kube("create", "token", "default", f"--namespace={namespace}", f"--audience={TOKEN_AUDIENCE}").strip()
    with pytest.raises(Unauthenticated, match="not bound to a pod"):
        await tokens.verify(unbound)


@pytest.mark.parametrize("kind", ["alone", "of another StatefulSet", "without its RelayPool"])
async def test_pods_of_no_relay_are_refused(kube: Kube, namespace: str, tokens: PodTokens, kind: str) -> None:
    if kind == "alone":
        metadata = {"name": "harbour-0", "namespace": namespace, "labels": {POOL_LABEL: "harbour"}}
        lone = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec()}
        await asyncio.to_thread(kube.apply, pool(namespace), lone)
        name = "harbour-0"
    elif kind == "of another StatefulSet":
        other = stateful_set(namespace, "other")
        other["spec"]["template"]["metadata"]["labels"]["app"] = "other"
        await asyncio.to_thread(kube.apply, pool(namespace), other)
        name = "other-0"
    else:
        await asyncio.to_thread(kube.apply, stateful_set(namespace))
        name = "harbour-0"
    await asyncio.to_thread(kube.until, "create", f"pod/{name}", f"--namespace={namespace}")
    with pytest.raises(NotPermitted, match=f"pod {namespace}/{name} is of no RelayPool"):
        await tokens.verify(await token(kube, namespace, name))


async def test_without_an_api_server_nobody_is_refused_for_good(tokens: PodTokens, kube: Kube) -> None:
    async with Api.connect(kube.kubeconfig) as api:
        api.client.configuration.host = "https://127.0.0.1:1"
        with pytest.raises(Unverifiable):
            await PodTokens(api, Known(lambda: 0.0)).verify("token")
