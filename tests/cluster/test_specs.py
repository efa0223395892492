"""What a pool's relays are made of, on a real API server: every exposure is taken, and admitted where it should be."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from pancar_operator import specs
from pancar_operator.api import (
    CONFIG_MAPS,
    DISRUPTION_BUDGETS,
    FIELD_MANAGER,
    POOLS,
    SERVICES,
    STATEFUL_SETS,
    Api,
    Body,
)
from pancar_operator.applied import covers
from pancar_operator.model import API_VERSION, Exposure, RelayPool
from pydantic import TypeAdapter
from rigs.cluster.images import BUSYBOX
from rigs.cluster.kube import Kube, KubectlError
from rigs.definitions import defined

DEPLOYMENT = specs.Deployment(BUSYBOX, "Never", "pancar.pancar.svc:8443", "pancar.pancar.svc:8444")
ENFORCE = "pod-security.kubernetes.io/enforce"
ON_NODE = (Exposure.HOST_PORT, Exposure.HOST_NETWORK)
KINDS = {
    "ConfigMap": CONFIG_MAPS,
    "Service": SERVICES,
    "PodDisruptionBudget": DISRUPTION_BUDGETS,
    "StatefulSet": STATEFUL_SETS,
}
# All that people may add, in amounts that the API server writes in another way.
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "cctv"}, "annotations": {"example.com/network": "cameras"}},
    "spec": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "cctv", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "site", "value": "pier"},
        ],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 1,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchExpressions": [{"key": "noisy", "operator": "Exists"}]},
                        },
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 2,
                "topologyKey": "rack",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"team": "cctv"}},
            }
        ],
        "priorityClassName": "system-cluster-critical",
        "resources": {
            "requests": {"cpu": "0.5", "memory": "1024Mi", "ephemeral-storage": "0.1Gi"},
            "limits": {"cpu": "2000m", "memory": "2Gi", "ephemeral-storage": "1.5Gi"},
        },
    },
}


@pytest.fixture(scope="module")
def pools(kube: Kube) -> Iterator[Kube]:
    """RelayPool is known there."""
    with defined(kube, "RelayPool"):
        yield kube


@pytest_asyncio.fixture
async def api(kube: Kube) -> AsyncIterator[Api]:
    async with Api.connect(kube.kubeconfig) as api:
        yield api


def pool(namespace: str, exposure: Exposure, template: dict[str, Any] | None = None) -> RelayPool:
    spec = {"media": {"exposure": exposure}, "template": template or {}}
    body = {"metadata": {"name": "city", "namespace": namespace}, "spec": spec}
    return TypeAdapter(RelayPool).validate_python(body)


def objects(pool: RelayPool, uid: str, replicas: int) -> list[Body]:
    found = [
        specs.authorities(pool, uid, b"-----BEGIN CERTIFICATE-----\n"),
        specs.headless_service(pool, uid),
        specs.disruption_budget(pool, uid),
        specs.stateful_set(pool, uid, replicas, DEPLOYMENT),
    ]
    return [*found, specs.pod_service(pool, uid, 0)] if specs.has_pod_services(pool) else found


def path(body: Body) -> str:
    return KINDS[body["kind"]].path(body["metadata"]["namespace"], body["metadata"]["name"])


async def declare(api: Api, namespace: str) -> str:
    """A RelayPool to own the objects; its uid."""
    metadata = {"name": "city", "namespace": namespace}
    made = await api.create(
        POOLS.path(namespace), {"apiVersion": API_VERSION, "kind": "RelayPool", "metadata": metadata}
    )
    uid: str = made["metadata"]["uid"]
    return uid


def admit(kube: Kube, namespace: str, exposure: Exposure, level: str) -> None:
    """Asks for a pod of the pool's template in a namespace that enforces the level. Raises KubectlError."""
    kube("label", "namespace", namespace, "--overwrite", f"{ENFORCE}={level}")
    template = specs.pod_template(pool(namespace, exposure, TEMPLATE), DEPLOYMENT)
    template["metadata"]["name"] = "city-0"
    body = {"apiVersion": "v1", "kind": "Pod", **template}
    kube.within(namespace)("create", "--dry-run=server", "--filename=-", stdin=json.dumps(body))


@pytest.mark.parametrize("exposure", [exposure for exposure in Exposure if exposure not in ON_NODE])
def test_pods_are_admitted_where_security_is_restricted(kube: Kube, namespace: str, exposure: Exposure) -> None:
    admit(kube, namespace, exposure, "restricted")


@pytest.mark.parametrize("exposure", ON_NODE)
def test_pods_on_their_nodes_network_take_a_privileged_namespace(
    kube: Kube, namespace: str, exposure: Exposure
) -> None:
    reason = {Exposure.HOST_PORT: "hostPorts 8443, 8801", Exposure.HOST_NETWORK: "hostNetwork=true"}[exposure]
    for level in ("restricted", "baseline"):
        with pytest.raises(KubectlError, match=reason) as refused:
            admit(kube, namespace, exposure, level)
        # And nothing else.
        assert "allowPrivilegeEscalation" not in str(refused.value)
        assert "runAsNonRoot" not in str(refused.value)
    admit(kube, namespace, exposure, "privileged")


@pytest.mark.parametrize("exposure", Exposure)
@pytest.mark.parametrize("template", [{}, TEMPLATE], ids=["plain", "with a template"])
async def test_what_was_applied_is_known_to_be_as_wanted(
    pools: Kube, api: Api, namespace: str, exposure: Exposure, template: dict[str, Any]
) -> None:
    uid = await declare(api, namespace)
    for body in objects(pool(namespace, exposure, template), uid, replicas=0):
        made = await api.apply(path(body), body)
        assert covers(made, body, FIELD_MANAGER), body["kind"]
        again = await api.apply(path(body), body)
        assert again["metadata"].get("generation") == made["metadata"].get("generation")


async def test_each_exposure_is_told_from_the_one_before(pools: Kube, api: Api, namespace: str) -> None:
    uid = await declare(api, namespace)
    made: dict[str, Body] = {}
    for exposure in [*Exposure, Exposure.NODE_PORT, Exposure.POD_IP]:
        for body in objects(pool(namespace, exposure), uid, replicas=0):
            before = made.get(path(body))
            made[path(body)] = after = await api.apply(path(body), body)
            assert covers(after, body, FIELD_MANAGER), (exposure, body["kind"])
            if before is not None and "generation" in before["metadata"]:
                unchanged = before["metadata"]["generation"] == after["metadata"]["generation"]
                assert covers(before, body, FIELD_MANAGER) is unchanged, (exposure, body["kind"])


async def test_what_people_take_out_of_the_template_is_taken_out(pools: Kube, api: Api, namespace: str) -> None:
    uid = await declare(api, namespace)
    full = specs.stateful_set(pool(namespace, Exposure.POD_IP, TEMPLATE), uid, 0, DEPLOYMENT)
    plain = specs.stateful_set(pool(namespace, Exposure.POD_IP), uid, 0, DEPLOYMENT)
    assert not covers(await api.apply(path(full), full), plain, FIELD_MANAGER)
    made = await api.apply(path(plain), plain)
    assert covers(made, plain, FIELD_MANAGER)
    assert "nodeSelector" not in made["spec"]["template"]["spec"]


async def test_what_others_change_is_noticed(pools: Kube, api: Api, namespace: str) -> None:
    uid = await declare(api, namespace)
    body = specs.stateful_set(pool(namespace, Exposure.POD_IP), uid, 0, DEPLOYMENT)
    await api.apply(path(body), body)
    own = pools.within(namespace)
    own("annotate", "statefulset/city", "theirs=stays")
    assert covers(await api.get(path(body)), body, FIELD_MANAGER)
    own("set", "image", "statefulset/city", "relay=other:1")
    assert not covers(await api.get(path(body)), body, FIELD_MANAGER)
    assert covers(await api.apply(path(body), body), body, FIELD_MANAGER)


async def test_the_pools_objects_go_with_it(pools: Kube, api: Api, namespace: str) -> None:
    uid = await declare(api, namespace)
    for body in objects(pool(namespace, Exposure.NODE_PORT), uid, replicas=0):
        await api.apply(path(body), body)
    own = pools.within(namespace)
    # Waits until the pool itself is gone: nothing of it may hold that up. For kinds that are new, as this one may be,
    # the garbage collector looks every half minute.
    own("delete", "relaypool/city", "--cascade=foreground", "--timeout=200s", seconds=220)
    own("wait", "--for=delete", "--timeout=30s", "statefulset/city", "service/city", "service/city-0", "pdb/city")
    own("wait", "--for=delete", "--timeout=30s", "configmap/city-authorities")
