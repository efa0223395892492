"""The cluster itself: what every other test here takes for granted."""

import pytest
from rigs.cluster.kube import KubectlError
from rigs.cluster.running import Cluster


def test_two_nodes_are_ready(cluster: Cluster) -> None:
    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in cluster.kube.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    assert ready == {"node-a": "True", "node-b": "True"}


def test_every_write_is_in_the_audit_log(cluster: Cluster, namespace: str) -> None:
    cluster.kube("create", "configmap", "seen", f"--namespace={namespace}")
    cluster.kube("get", "configmap", "seen", f"--namespace={namespace}")
    seen = [
        (event["verb"], event["user"]["username"])
        for event in cluster.writes()
        if event["objectRef"].get("namespace") == namespace and event["objectRef"].get("name") == "seen"
    ]
    assert seen == [("create", "admin")]


def test_a_service_account_has_its_own_rights_only(cluster: Cluster, namespace: str) -> None:
    own = cluster.kube.using(cluster.kubeconfig_of(namespace, "default"))
    name = own("auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
    assert name == f"system:serviceaccount:{namespace}:default"
    with pytest.raises(KubectlError, match="forbidden"):
        own("get", "secrets", f"--namespace={namespace}")
