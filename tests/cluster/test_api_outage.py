"""The API server ends and returns: pods run on meanwhile, and what it held is still there."""

import urllib.request

import pytest
from rigs.cluster import web
from rigs.cluster.kube import KubectlError
from rigs.cluster.running import Cluster


def test_pods_outlive_the_api_server(cluster: Cluster, namespace: str) -> None:
    kube = cluster.kube.within(namespace)
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": web.pod()})
    kube.until("condition=Ready", "pod/web")
    before = kube.get("pod", "web")

    cluster.stop_api()
    try:
        with pytest.raises(KubectlError):
            kube.get("pod", "web")
        address = f"http://{before['status']['podIP']}:{web.PORT}/"
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert answer.status == 200
    finally:
        cluster.start_api()
    after = kube.get("pod", "web")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
