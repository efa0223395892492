"""Pods of an image that was built here run on both nodes, and are reached by address, by service and by name."""

import urllib.request

import pytest
from rigs.cluster import web
from rigs.cluster.images import BUSYBOX
from rigs.cluster.kube import Kube
from rigs.cluster.machine import wait_for
from rigs.cluster.running import Cluster


def read(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}:{web.PORT}/", timeout=5) as answer:
        body: bytes = answer.read()
        return body.decode().strip()


@pytest.fixture
def serving(cluster: Cluster, namespace: str) -> Kube:
    """Two pods of a Deployment `web`, on a node each, a service of that name, and a headless one, `each`."""
    kube = cluster.kube.within(namespace)
    kube.apply(web.deployment("web", replicas=2), web.service("web", "web"), web.service("each", "web", headless=True))
    kube("rollout", "status", "deployment/web", "--timeout=60s", seconds=70)
    return kube


def test_pods_are_reached_from_outside_and_through_their_service(serving: Kube) -> None:
    pods = serving.get("pods")["items"]
    answers = {read(pod["status"]["podIP"]) for pod in pods}
    assert answers == {f"{pod['metadata']['name']} on {pod['spec']['nodeName']}" for pod in pods}
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-a", "node-b"}
    address = serving.get("service", "web")["spec"]["clusterIP"]
    # Nodes learn of a pod that is ready a moment after everybody else; until then nobody may answer.
    wait_for("all answer for the service", 60, lambda: {read(address) for _ in range(40)} == answers)


def test_pods_find_each_other_by_name(serving: Kube, namespace: str) -> None:
    addresses = {pod["status"]["podIP"] for pod in serving.get("pods")["items"]}
    look_up = ("nslookup", "-type=a", f"each.{namespace}.svc.cluster.local")
    # Who dials before its node knows of the service would hang.
    fetch = ("timeout", "10", "wget", "-qO-", f"http://web.{namespace}.svc:{web.PORT}/")

    def found() -> bool:
        lines = serving("exec", "deployment/web", "--", *look_up).splitlines()[2:]
        return addresses == {line.split()[-1] for line in lines if line.startswith("Address")}

    # Names, too, are known a moment later.
    wait_for("both are found by name", 60, found)
    wait_for("one answers", 60, lambda: serving("exec", "deployment/web", "--", *fetch).startswith("web-"))


def test_an_image_that_was_not_loaded_is_not_pulled(cluster: Cluster, namespace: str) -> None:
    kube = cluster.kube.within(namespace)
    spec = web.pod()
    spec["containers"][0]["image"] = BUSYBOX.replace("busybox", "nobody-has-this")
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "imageless"}, "spec": spec})
    waiting = "{.status.containerStatuses[0].state.waiting.reason}"
    kube.until(f"jsonpath={waiting}=ErrImageNeverPull", "pod/imageless")
