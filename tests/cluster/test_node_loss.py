"""A node that loses its power: the cluster notices within its grace, and takes it back when it returns."""

import time

from rigs.cluster import web
from rigs.cluster.layout import GRACE_SECONDS
from rigs.cluster.running import Cluster

# Until the controller looks (each second), and writes, and the watch brings it; and the lease's own age at the time.
# On a quiet machine 6 s will do.
SLACK_SECONDS = 30


def test_a_node_without_power_is_noticed_and_comes_back(cluster: Cluster, namespace: str) -> None:
    kube = cluster.kube.within(namespace)
    metadata = {"name": "web", "labels": {"app": "web"}}
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": web.pod(node="node-b")})
    kube.until("condition=Ready", "pod/web")

    since = time.monotonic()
    cluster.power_off("node-b")
    try:
        kube.until("condition=Ready=Unknown", "node/node-b", seconds=60)
        assert time.monotonic() - since < GRACE_SECONDS + SLACK_SECONDS
        kube.until("condition=Ready=False", "pod/web", seconds=60)
        kube.until("condition=Ready", "node/node-a", seconds=30)
    finally:
        cluster.power_on("node-b")
    kube.until("condition=Ready", "pod/web", seconds=60)
