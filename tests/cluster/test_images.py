"""The images of operator and relay, made of this checkout: they start, as nobody, and hold what they ask for only."""

import sys

import pytest
from rigs.cluster.running import Cluster

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def run(cluster: Cluster, namespace: str, image: str, *command: str) -> str:
    """What the command prints, in a pod that the strictest of Kubernetes' own policies admits."""
    kube = cluster.kube.within(namespace)
    kube("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    container = {
        "name": "it",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(command),
        "securityContext": RESTRICTED,
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}, "spec": spec})
    kube.until("jsonpath={.status.containerStatuses[0].state.terminated}", "pod/it")
    printed = kube("logs", "it")
    # One that could not even be started counts as terminated too, and has printed nothing.
    ended = kube.get("pod/it")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "Completed", f"{ended}\n{printed}"
    return printed


@pytest.mark.parametrize(
    ("image", "needed", "absent"),
    [
        ("operator_image", "pancar_operator.control, kopf, kubernetes", "pancar_relay"),
        ("relay_image", "pancar_relay._engine, pancar_relay.__main__", "kopf"),
    ],
)
def test_an_image_holds_what_its_extra_asks_for(
    cluster: Cluster, namespace: str, request: pytest.FixtureRequest, image: str, needed: str, absent: str
) -> None:
    script = f"import importlib.util, os, {needed}; print(importlib.util.find_spec({absent!r}), os.getuid())"
    printed = run(cluster, namespace, request.getfixturevalue(image), sys.executable, "-c", script)
    assert printed.strip() == "None 65532"
