"""A node that is none: the simulated relays' pods are bound to it, and this says that they run.

What a kubelet would write, as far as an operator looks at it.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any, Final

from pancar_operator.api import Api, ApiError

NODE: Final = "simulated"
PODS: Final = 500
HEARTBEAT: Final = 3.0
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _ready() -> dict[str, str]:
    now = _now()[:19] + "Z"
    return {
        "type": "Ready",
        "status": "True",
        "reason": "Simulated",
        "message": "",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


async def join(api: Api) -> None:
    """Makes the node."""
    await api.create("/api/v1/nodes", {"metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}})
    room = {"cpu": "1000", "memory": "1Ti", "pods": str(PODS), "ephemeral-storage": "1Ti"}
    status = {"capacity": room, "allocatable": room, "conditions": [_ready()]}
    await api.apply(f"/api/v1/nodes/{NODE}", _node(status=status), subresource="status")
    with contextlib.suppress(ApiError):
        await api.create(LEASES, _lease())


async def live(api: Api) -> None:
    """Its sign of life; to be cancelled, which is its end."""
    while True:
        with contextlib.suppress(ApiError):
            await api.apply(f"{LEASES}/{NODE}", _lease())
        await asyncio.sleep(HEARTBEAT)


async def run_pods(api: Api, namespace: str, pool: str) -> None:
    """Says of every pod of a pool that is bound to the node, and of those to come, that it runs; to be cancelled."""
    while True:
        with contextlib.suppress(ApiError):
            for pod in await pods(api, namespace, pool):
                if pod["spec"].get("nodeName") == NODE and pod["status"].get("phase") == "Pending":
                    await _run(api, pod)
        await asyncio.sleep(0.5)


async def pods(api: Api, namespace: str, pool: str) -> list[dict[str, Any]]:
    found = await api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"pancar.dev/pool={pool}")
    return sorted(found["items"], key=lambda pod: str(pod["metadata"]["name"]))


async def token(api: Api, pod: dict[str, Any], audience: str) -> str:
    """What the kubelet would mount: a token that is bound to the pod."""
    metadata = pod["metadata"]
    account = pod["spec"]["serviceAccountName"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    answer = await api.create(
        f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token",
        {"spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound}},
    )
    return str(answer["status"]["token"])


async def _run(api: Api, pod: dict[str, Any]) -> None:
    now, metadata = _now()[:19] + "Z", pod["metadata"]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    containers = [
        {
            "name": each["name"],
            "image": each["image"],
            "imageID": "",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }
        for each in pod["spec"]["containers"]
    ]
    status = {
        "phase": "Running",
        "podIP": "192.0.2.1",
        "podIPs": [{"ip": "192.0.2.1"}],
        "hostIP": "192.0.2.2",
        "hostIPs": [{"ip": "192.0.2.2"}],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": containers,
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "status": status,
    }
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    await api.apply(path, body, subresource="status")


def _node(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, **parts}


def _lease() -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NODE, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": _now()},
    }
