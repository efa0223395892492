"""A cluster that ended, well or not, leaves nothing on the machine: no process, namespace, cgroup, device or file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rigs.cluster import claim
from rigs.cluster.fixtures import KUBECONFIG, missing
from rigs.cluster.node import SYSCTLS
from rigs.cluster.running import START_SECONDS

SUPPORT = Path(claim.__file__).parents[2]
# Runs one with a pod on it, says so, and waits to be told to end, or to be ended.
PROGRAM = """
import sys
from rigs.cluster import running, web
with running.cluster() as cluster:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": web.pod(node="node-b")}
    cluster.kube.until("create", "serviceaccount/default")
    cluster.kube.apply(pod)
    cluster.kube.until("condition=Ready", "pod/web")
    print(cluster.layout.number, flush=True)
    sys.stdin.read()
"""


def sysctls() -> dict[str, str]:
    return {key: Path("/proc/sys", key).read_text() for key in SYSCTLS if Path("/proc/sys", key).exists()}


def processes(name: str) -> Iterator[str]:
    """Those in a cgroup of the cluster's, or whose command names its folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"/{name}/" in (folder / "cgroup").read_text() or f"{claim.FOLDER}/{name.split('-')[1]}/" in command:
                yield command
        except OSError:
            continue


def left(name: str) -> list[str]:
    number = name.split("-")[1]
    routes = subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout.splitlines()
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [
        *processes(name),
        *map(str, claim.remains(name)),
        *(route for route in routes if route.startswith(f"10.{number}.")),
        *(mount for mount in mounts if f"{claim.FOLDER}/{number}" in mount),
        *(str(path) for path in [claim.FOLDER / number, Path("/sys/class/net", name)] if path.exists()),
    ]


@pytest.fixture
def running() -> Iterator["subprocess.Popen[str]"]:
    if KUBECONFIG in os.environ:
        pytest.skip("makes clusters of its own")
    if reason := missing():
        pytest.skip(reason)
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_nothing_is_left(running: "subprocess.Popen[str]", killed: bool) -> None:
    assert running.stdout is not None
    before = sysctls()
    name = f"pancar-{running.stdout.readline().strip()}"
    assert any("kubelet" in command for command in processes(name))
    assert sysctls() == before
    if killed:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        deadline = time.monotonic() + START_SECONDS
        while any(processes(name)) and time.monotonic() < deadline:
            time.sleep(0.1)
        claim.sweep()  # as the next cluster does first
    else:
        running.communicate()
        assert running.returncode == 0
    assert left(name) == []
    assert sysctls() == before
