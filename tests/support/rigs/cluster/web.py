"""A small web server as manifests: something for a pod to be, and to be reached. Pure; for tests/cluster."""

from typing import Any

from rigs.cluster.images import BUSYBOX

PORT = 8080
# Says which pod answers, and on which node.
SERVE = f'echo "$POD on $NODE" > /tmp/index.html; exec httpd -f -p {PORT} -h /tmp'


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def pod(*, node: str | None = None) -> dict[str, Any]:
    """A pod's spec, ready when the server answers."""
    return {
        **({"nodeName": node} if node else {}),
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "web",
                "image": BUSYBOX,
                "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", SERVE],
                "env": [_field("POD", "metadata.name"), _field("NODE", "spec.nodeName")],
                "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
            }
        ],
    }


def deployment(name: str, *, replicas: int) -> dict[str, Any]:
    """Its pods are spread over the nodes."""
    labels = {"app": name}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {**pod(), "topologySpreadConstraints": [spread]},
            },
        },
    }


def service(name: str, selected: str, *, headless: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": selected},
            "ports": [{"port": PORT}],
            **({"clusterIP": "None"} if headless else {}),
        },
    }
