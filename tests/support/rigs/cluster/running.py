"""A cluster that runs: brought up, its nodes switched off and on, its API server stopped, brought down. See `fixtures`.

The control plane has a machine of its own, and each node one inside of that: whatever ends it ends all of them.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rigs.cluster import build, claim, control_plane, coredns, image, images, node, pki
from rigs.cluster.image import Image
from rigs.cluster.kube import Kube, KubectlError
from rigs.cluster.layout import Layout, Node
from rigs.cluster.machine import ClusterError, Machine, wait_for

START_SECONDS = 90.0
BRIDGE, BRIDGE_MAC = "nodes", "02:00:00:00:00:01"
DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"


def make_cgroups(layout: Layout) -> None:
    """The kubelets' roots, which they want to exist in every hierarchy."""
    for root in claim.hierarchies():
        top = root / layout.name
        for cgroup in (top, *(top / one.name for one in layout.nodes)):
            cgroup.mkdir()
            for file in ("cpuset.cpus", "cpuset.mems"):  # in version 1 a new one has none, and takes no process
                if (root / file).exists():
                    (cgroup / file).write_text((cgroup.parent / file).read_text())
            if (root / "cgroup.controllers").exists():
                controllers = (root / "cgroup.controllers").read_text().split()
                (cgroup.parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


class Cluster:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kube = Kube((str(layout.kubernetes), "kubectl"), layout.kubeconfig, layout.folder / "kubectl")
        self._archives: dict[str, Path] = {}
        self._nodes: dict[str, Machine] = {}
        layout.logs.mkdir()
        self._control = Machine("control", layout.pause, layout.logs)

    def up(self) -> None:
        layout = self.layout
        pki.issue(layout)
        make_cgroups(layout)
        self._connect()
        self._control.start(control_plane.etcd(layout))
        self._control.start(control_plane.kube_apiserver(layout))
        for built in (images.sandbox(), images.coredns(), images.busybox()):
            self._archive(built)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._switch_on, layout.nodes))
        self._wait("the API server is ready", lambda: self.kube("get", "--raw=/readyz") == "ok")
        for part in control_plane.after_the_api(layout):
            self._control.start(part)
        for one in layout.nodes:
            self._join(one)
        self._wait("every node has joined", lambda: len(self.kube.get("nodes")["items"]) == len(layout.nodes))
        self.kube.until("condition=Ready", "nodes", "--all", seconds=START_SECONDS)
        for one in layout.nodes:
            self._wait_for_services(one)
        self.kube.apply(*coredns.manifests(layout))
        self.kube(
            *("rollout", "status", "daemonset/coredns", f"--namespace={coredns.NAMESPACE}", "--timeout=90s"),
            seconds=START_SECONDS + 10,
        )

    def down(self) -> None:
        for machine in (*self._nodes.values(), self._control):
            machine.off()

    def _connect(self) -> None:
        """A bridge for the machines, and a cable from it to the one that the tests run on."""
        layout, control = self.layout, self._control
        control.ip("link", "set", "lo", "up")
        # With an address of its own: else it has the lowest of its ports', and falls silent when that one is off.
        control.ip("link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge")
        control.ip("address", "add", f"{layout.api_address}/24", "dev", BRIDGE)
        control.ip("link", "set", BRIDGE, "up")
        control.ip("route", "add", "default", "via", layout.machine_address)
        _ip("link", "add", layout.name, "type", "veth", "peer", "name", "cable", "netns", str(control.pid))
        control.ip("link", "set", "cable", "master", BRIDGE, "up")
        for one in layout.nodes:
            control.ip("route", "add", one.pods, "via", one.address)
        _ip("address", "add", f"{layout.machine_address}/24", "dev", layout.name)
        _ip("link", "set", layout.name, "up")
        for one in layout.nodes:
            _ip("route", "add", one.pods, "via", one.address)

    def _route_services(self) -> None:
        """From here by way of any node that is on: each has them all."""
        for one in self.layout.nodes:
            if one.name in self._nodes:
                _ip("route", "replace", self.layout.services, "via", one.address)
                return

    def _wait(self, what: str, probe: Any, *others: Machine) -> None:
        wait_for(what, START_SECONDS, probe, self._control, *others)

    def _switch_on(self, one: Node) -> None:
        """Up to its container runtime, with all images that there are by then."""
        machine = Machine(one.name, self.layout.pause, self.layout.logs, inside=self._control)
        cable = f"to-{one.name}"
        self._control.ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid))
        self._control.ip("link", "set", cable, "master", BRIDGE, "up")
        machine.run("sh", "-c", node.preparation(self.layout, one))
        machine.start(node.containerd(self.layout, one, shutil.which("runc") or "/usr/sbin/runc"))
        self._wait(f"containerd runs on {one.name}", lambda: machine.run("ctr", "version"), machine)
        for archive in self._archives.values():
            _import(machine, archive)
        self._nodes[one.name] = machine
        self._route_services()

    def _join(self, one: Node) -> None:
        machine = self._nodes[one.name]
        machine.start(node.kubelet(self.layout, one))
        machine.start(node.kube_proxy(self.layout, one))

    def _wait_for_services(self, one: Node) -> None:
        """A pod that dials a service before its node knows of it would hang for half a minute."""
        machine = self._nodes[one.name]
        dial = (sys.executable, "-c", DIAL, self.layout.api_service, "443")
        self._wait(f"services are known on {one.name}", lambda: machine.run(*dial) == "", machine)

    def _archive(self, one: Image) -> Path:
        archive = self.layout.folder / f"{len(self._archives)}.tar"
        image.write(one, archive)
        self._archives[one.reference] = archive
        return archive

    def load(self, one: Image) -> str:
        """Makes the image known to every node, also to those that are off; returns its reference."""
        if one.reference not in self._archives:
            archive = self._archive(one)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda machine: _import(machine, archive), self._nodes.values()))
        return one.reference

    def power_off(self, name: str) -> None:
        """A node, as when its plug is pulled: nobody is told."""
        self._nodes.pop(name).off()
        self._route_services()

    def power_on(self, name: str) -> None:
        """Returns when the node is Ready again. It has its disk still; its containers are gone."""
        one = next(one for one in self.layout.nodes if one.name == name)
        self._switch_on(one)
        since = self._heartbeat(one)
        self._join(one)
        self._wait(f"{name} is back", lambda: self._heartbeat(one) != since, self._nodes[name])
        self.kube.until("condition=Ready", f"node/{name}", seconds=START_SECONDS)
        self._wait_for_services(one)

    def _heartbeat(self, one: Node) -> str:
        lease = self.kube.get("lease", one.name, "--namespace=kube-node-lease")
        return str(lease["spec"]["renewTime"])

    def stop_api(self) -> None:
        """Ends the API server, as kill -9 does; etcd keeps what it held."""
        self._control.stop("kube-apiserver")

    def start_api(self) -> None:
        """Returns when it is ready."""
        self._control.start(control_plane.kube_apiserver(self.layout))
        self._wait("the API server is ready again", lambda: self.kube("get", "--raw=/readyz") == "ok")

    def writes(self) -> list[dict[str, Any]]:
        """The audit log so far: every request that was not a read, oldest first (audit.k8s.io/v1 Event)."""
        with self.layout.audit.open() as log:
            return [json.loads(line) for line in log if line.endswith("\n")]

    def kubeconfig_of(self, namespace: str, account: str) -> Path:
        """For a program outside of the cluster that is to have a service account's rights and no others."""
        cluster = json.loads(self.kube("config", "view", "--raw", "--output=json"))["clusters"][0]["cluster"]
        user = {"token": self.kube.token(namespace, account)}
        file = self.layout.folder / f"{namespace}.{account}.kubeconfig"
        file.write_text(pki.kubeconfig(self.layout.api_url, cluster["certificate-authority-data"], user))
        return file


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _import(machine: Machine, archive: Path) -> None:
    machine.run("ctr", "--namespace=k8s.io", "images", "import", archive)


@contextlib.contextmanager
def cluster(keep_logs: Path | None = None) -> Iterator[Cluster]:
    """One that is up, and of which nothing is left afterwards but its logs, where they are wanted."""
    with claim.number() as (number, folder):
        layout = Layout(number, folder, build.binary("kubernetes"), build.binary("pause"))
        made = Cluster(layout)
        try:
            made.up()
            yield made
        finally:
            made.down()
            if keep_logs is not None:
                shutil.copytree(layout.logs, keep_logs, dirs_exist_ok=True)


__all__ = ["Cluster", "ClusterError", "KubectlError", "cluster"]
