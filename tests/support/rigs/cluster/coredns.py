"""The cluster's DNS, as manifests: one pod a node, so that it outlives any node. Pure; applied by `running`."""

from typing import Any

from rigs.cluster.images import COREDNS
from rigs.cluster.layout import DOMAIN, Layout

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "coredns"}
# Answers live for a second and are not kept, so that a test sees a pod's coming and going at once.
COREFILE = f".:53 {{\n errors\n ready\n kubernetes {DOMAIN} in-addr.arpa {{\n  ttl 1\n }}\n}}\n"


def _metadata(name: str = "coredns") -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": LABELS}


def _rights() -> tuple[dict[str, Any], ...]:
    group, read = "rbac.authorization.k8s.io", ["list", "watch"]
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE}],
        },
    )


def manifests(layout: Layout) -> tuple[dict[str, Any], ...]:
    container = {
        "name": "coredns",
        "image": COREDNS,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/coredns"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "configuration", "configMap": {"name": "coredns"}}],
    }
    return (
        *_rights(),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(), "data": {"Corefile": COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": _metadata(),
            "spec": {
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata("kube-dns"),
            "spec": {
                "selector": LABELS,
                "clusterIP": layout.dns_service,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        },
    )
