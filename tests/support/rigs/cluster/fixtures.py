"""What tests on a real Kubernetes ask for. See CONTRIBUTING.md on what it takes and how long.

`kube` is any Kubernetes: the one that PANCAR_TEST_KUBECONFIG names, or else the rig's own. `cluster` is the rig's own,
which can do more: switch nodes off, stop the API server, load images, tell who wrote what. `namespace` is a fresh one.
`operator_image` and `relay_image` are names of Pancar's own images on the rig's nodes, made of this checkout. A pod
that runs an image loaded here says `imagePullPolicy: Never`.

There is one cluster for all tests of a run, in one worker of xdist's: `make test` distributes by group.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rigs.cluster import build, images, node, running
from rigs.cluster.kube import Kube

KUBECONFIG, LOGS = "PANCAR_TEST_KUBECONFIG", "CLUSTER_LOGS"
PROGRAMS = ("busybox", "conntrack", "containerd", "ctr", "ip", "iptables", "ldd", "nft", "nsenter", "runc", "unshare")


def missing() -> str | None:
    """Why this machine cannot run the cluster."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a cluster of one's own takes Linux and root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not Path(node.CNI_PLUGINS, "bridge").exists():
        absent.append("containernetworking-plugins")
    if absent:
        return f"a cluster of one's own takes {', '.join(absent)}"
    if not build.built():
        return "`make cluster` has not built Kubernetes yet"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"cluster", "kube"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[running.Cluster]:
    if KUBECONFIG in os.environ:
        pytest.skip(f"takes a cluster of its own, and {KUBECONFIG} names another")
    if reason := missing():
        pytest.skip(reason)
    logs = os.environ.get(LOGS)
    with running.cluster(Path(logs) if logs else None) as made:
        yield made


@pytest.fixture(scope="session")
def operator_image(cluster: running.Cluster) -> str:
    return cluster.load(images.operator())


@pytest.fixture(scope="session")
def relay_image(cluster: running.Cluster) -> str:
    return cluster.load(images.relay())


@pytest.fixture(scope="session")
def kube(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    if named := os.environ.get(KUBECONFIG):
        kubectl = shutil.which("kubectl")
        if kubectl is None and not build.built():
            pytest.skip("no kubectl here")
        command = (kubectl,) if kubectl else (str(build.binary("kubernetes")), "kubectl")
        return Kube(command, Path(named), tmp_path_factory.mktemp("kubectl"))
    own: running.Cluster = request.getfixturevalue("cluster")
    return own.kube


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    with kube.namespace() as name:
        yield name
