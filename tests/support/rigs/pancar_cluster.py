"""Pancar installed on the test cluster as its users install it: by the chart, with images made of this checkout.

A test's cameras stand on the machine that it runs on, and so do its viewers. kubectl's and Helm's commands run in
threads, so that viewers go on meanwhile. Asked for by tests/cluster as the fixture `pancar`.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from rigs import chart
from rigs.cluster import images
from rigs.cluster.helm import Helm, values
from rigs.cluster.kube import Kube, KubectlError, Manifest
from rigs.cluster.running import Cluster
from rigs.viewer import Viewer
from rigs.waiting import eventually

PANCAR = Path(sys.executable).with_name("pancar")
RELEASE = "pancar"
OPERATOR = f"deployment/{RELEASE}-operator"
RESOURCES = "relaypools.pancar.dev,cameras.pancar.dev"
Object = dict[str, Any]


def pool(name: str = "default", **spec: Any) -> Object:
    return {"apiVersion": "pancar.dev/v1alpha1", "kind": "RelayPool", "metadata": {"name": name}, "spec": spec}


def condition(body: Manifest, kind: str) -> Object:
    """Of an object's status; empty where it has none of the kind."""
    found = (one for one in body.get("status", {}).get("conditions", ()) if one["type"] == kind)
    return next(found, {})


@dataclass(frozen=True)
class Address:
    """A relay, and a token for it."""

    base: str
    token: str


class Installation:
    """A release of the chart in a namespace of its own, which is also that of the default pool."""

    def __init__(self, cluster: Cluster, namespace: str, scratch: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.kube = cluster.kube.within(namespace)
        self.helm = Helm(scratch, cluster.kube.kubeconfig)
        self._token = ""

    def settings(self) -> list[str]:
        """Images of this checkout, pulled from nowhere."""
        found = []
        for side, image in (("operator", images.operator()), ("relay", images.relay())):
            repository, _, tag = self.cluster.load(image).rpartition(":")
            found += [f"{side}.image.repository={repository}", f"{side}.image.tag={tag}"]
            found.append(f"{side}.image.pullPolicy=Never")
        return values(found)

    def install(self, *settings: str) -> str:
        """What Helm prints. Returns when the operator is ready."""
        arguments = ("--namespace", self.namespace, "--wait", "--timeout=120s", *self.settings(), *values(settings))
        return self.helm("upgrade", "--install", RELEASE, str(chart.CHART), *arguments)

    def remove(self) -> None:
        """The chart, and all that it leaves."""
        with contextlib.suppress(KubectlError):
            self.kube("delete", RESOURCES, "--all", "--all-namespaces", "--timeout=60s", seconds=70)
        with contextlib.suppress(KubectlError):
            self.kube("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        self.helm("uninstall", RELEASE, "--namespace", self.namespace, "--ignore-not-found", "--wait")
        self.kube("delete", "--ignore-not-found", *(f"crd/{crd['metadata']['name']}" for crd in chart.crds().values()))

    def camera_address(self) -> str:
        """Where cameras stand: the machine that the test runs on."""
        return self.cluster.layout.machine_address

    async def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 180.0) -> str:
        return await asyncio.to_thread(self.kube, *arguments, stdin=stdin, seconds=seconds)

    async def apply(self, *manifests: Manifest, kube: Kube | None = None) -> None:
        await asyncio.to_thread((kube or self.kube).apply, *manifests)

    async def get(self, *arguments: str) -> Object:
        return await asyncio.to_thread(self.kube.get, *arguments)

    async def camera(self, namespace: str, name: str) -> Object:
        return await self.get("camera", name, f"--namespace={namespace}")

    async def until_ready(self, namespace: str, *which: str, seconds: float = 120.0) -> None:
        """As people wait: for the cameras named, or all of the namespace."""
        which = which or ("--all",)
        wait = ("wait", "--for=condition=Ready", "camera", *which, f"--timeout={seconds:.0f}s")
        await self.kubectl(*wait, f"--namespace={namespace}", seconds=seconds + 10)

    async def until_relays(self, count: int, name: str = "default", *, seconds: float = 120.0) -> list[Object]:
        """Waits until so many pods of the pool are ready and have attached, and no others are left; returns them."""

        async def probe() -> list[Object] | None:
            pods = (await self.get("pods", f"--selector=pancar.dev/pool={name}"))["items"]
            ready = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
            return ready if len(ready) == len(pods) == count else None

        pods = await eventually(probe, f"{count} relays of {name} are ready", seconds=seconds)
        # A pod is ready before its relay has attached, and cameras come only to those that have.
        wait = ("wait", "--for=condition=Ready", f"relaypool/{name}", f"--timeout={seconds:.0f}s")
        await self.kubectl(*wait, seconds=seconds + 10)
        return pods

    async def until_on(self, namespace: str, name: str, *, other_than: str = "", seconds: float = 120.0) -> Object:
        """Waits until the camera is Ready on a relay, on another one where `other_than` names one; returns it."""

        async def probe() -> Object | None:
            camera = await self.camera(namespace, name)
            ready = condition(camera, "Ready").get("status") == "True"
            return camera if ready and camera["status"].get("relay") not in (None, other_than) else None

        return await eventually(probe, f"{namespace}/{name} is Ready elsewhere than on {other_than!r}", seconds=seconds)

    async def address(self, namespace: str, name: str) -> Address:
        """That of the relay that pulls the camera."""
        relay = (await self.camera(namespace, name))["status"]["relay"]
        pod = await self.get("pod", relay)
        return Address(f"https://{pod['status']['podIP']}:8443", await self.token())

    async def token(self) -> str:
        """A viewer's, good for all cameras."""
        if not self._token:
            arguments = ("token", "--kubeconfig", str(self.kube.kubeconfig), "--namespace", self.namespace)
            process = await asyncio.create_subprocess_exec(PANCAR, *arguments, stdout=subprocess.PIPE)
            output, _ = await process.communicate()
            assert process.returncode == 0
            self._token = output.decode().strip()
        return self._token

    async def tls(self, name: str = "default") -> ssl.SSLContext:
        """Trusts whom the pool's relays are certified by, and nobody else."""
        authorities = await self.get("configmap", f"{name}-authorities")
        return ssl.create_default_context(cadata=authorities["data"]["ca.crt"])

    async def viewer(self, namespace: str, name: str) -> Viewer:
        """One who has not joined yet, at the relay that pulls the camera."""
        where, tls = await asyncio.gather(self.address(namespace, name), self.tls())
        return Viewer(where, f"{namespace}/{name}", tls=tls)

    async def events(self, namespace: str, name: str) -> list[Object]:
        """Those that `kubectl describe` shows of the object, oldest first."""
        listed = await self.get("events", f"--namespace={namespace}", f"--field-selector=involvedObject.name={name}")
        found = cast(list[Object], listed["items"])
        return sorted(found, key=lambda event: event.get("eventTime") or event["lastTimestamp"])

    async def leader(self) -> str:
        """The name of the operator's pod that leads."""
        held = (await self.get("lease", "pancar-operator"))["spec"].get("holderIdentity", "")
        return str(held).partition("_")[0]

    def story(self) -> str:
        """What happened, for one who reads of a failed test."""
        pods = self.kube("get", "pods", "--output=name").split()
        told = []
        for arguments in (
            ("get", "pods", "--output=wide"),
            ("get", RESOURCES, "--all-namespaces", "--output=wide"),
            ("get", "events", "--all-namespaces"),
            *(("logs", pod, "--tail=400", "--previous") for pod in pods),
            *(("logs", pod, "--tail=400") for pod in pods),
        ):
            # Some have no log before, others are on a node that cannot be asked.
            with contextlib.suppress(KubectlError):
                told.append(f"$ kubectl {' '.join(arguments)}\n{self.kube(*arguments)}")
        return "\n".join(told)


@pytest.fixture(scope="module")
def bare(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installation]:
    """Nothing installed yet; whatever is, is removed afterwards."""
    failed = request.session.testsfailed
    namespace = f"pancar-{uuid.uuid4().hex[:6]}"
    cluster.kube("create", "namespace", namespace)
    cluster.kube("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = Installation(cluster, namespace, tmp_path_factory.mktemp("helm"))
    try:
        yield made
    finally:
        if request.session.testsfailed > failed:
            sys.stdout.write(made.story())
        made.remove()
        cluster.kube("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def pancar(bare: Installation) -> Installation:
    """Installed with the chart's own values, and no pool yet."""
    bare.install()
    return bare


# Cameras cheap enough for a dozen beside a cluster on one machine.
SLOW: dict[str, Any] = {"fps": 5, "gop": 5, "kbps": 200}


def numbered(prefix: str, count: int) -> Sequence[str]:
    return [f"{prefix}-{number:02}" for number in range(1, count + 1)]
