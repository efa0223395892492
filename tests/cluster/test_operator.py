"""The operator as a process on a real API server: it takes over, it goes on, and it writes nothing twice."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pancar_operator.leader import LEASE
from rigs import manifests
from rigs.cluster.kube import Kube
from rigs.cluster.running import Cluster
from rigs.definitions import defined
from rigs.waiting import eventually

END_SECONDS = 30.0
AGENT = "pancar-operator"
# Not what it says of the world, but that it is there itself.
OWN = {"leases", "tokenreviews"}


@pytest.fixture(scope="module", autouse=True)
def kinds_defined(cluster: Cluster) -> Iterator[None]:
    with defined(cluster.kube, "RelayPool", "Camera"):
        yield


class Replica:
    """One of the operator's processes, on the machine that the test runs on."""

    def __init__(self, cluster: Cluster, namespace: str, log: Path) -> None:
        self.log = log
        self._environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(cluster.kube.kubeconfig),
            "PANCAR_NAMESPACE": namespace,
            "PANCAR_LISTEN": "127.0.0.1:0",
            "PANCAR_ENROL_LISTEN": "127.0.0.1:0",
            "PANCAR_HEALTH_LISTEN": "127.0.0.1:0",
            # No pool is declared here, so that no relay is ever made.
            "PANCAR_RELAY_CONTROL": "127.0.0.1:8443",
            "PANCAR_RELAY_ENROL": "127.0.0.1:8444",
            "PANCAR_RELAY_IMAGE": "example.org/none:1",
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, identity: str) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pancar_operator"),
                env={**self._environment, "PANCAR_IDENTITY": identity},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    def kill(self) -> None:
        """What a failed test left."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def end(self, number: signal.Signals) -> int:
        """Its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(END_SECONDS):
            return await self._process.wait()


@pytest.fixture
def replica(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    made: list[Replica] = []

    def make() -> Replica:
        made.append(Replica(cluster, namespace, tmp_path / f"operator-{len(made)}.log"))
        return made[-1]

    yield make
    for one in made:
        one.kill()
        sys.stdout.write(one.log.read_text() if one.log.exists() else "")


class Told:
    """What the API server holds of the operator's."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._kube: Kube = cluster.kube.within(namespace)

    async def declare(self, name: str) -> None:
        await asyncio.to_thread(self._kube.apply, manifests.camera(name, "rtsp://192.0.2.1/main"))

    async def placed(self, name: str) -> str:
        """Why the camera is placed or not; empty while nothing is said."""
        body = await asyncio.to_thread(self._kube.get, "camera", name)
        conditions = body.get("status", {}).get("conditions", ())
        return next((str(one["reason"]) for one in conditions if one["type"] == "Placed"), "")

    async def leader(self) -> str:
        """The pod whose process leads; empty where none does."""
        listed = await asyncio.to_thread(self._kube.get, "leases")
        held = [body for body in listed["items"] if body["metadata"]["name"] == LEASE]
        return str(held[0]["spec"].get("holderIdentity", "")).partition("_")[0] if held else ""

    def writes(self) -> list[dict[str, Any]]:
        """What the operator wrote into the namespace."""
        return [
            event
            for event in self._cluster.writes()
            if event["objectRef"].get("namespace") == self._namespace
            and event.get("userAgent", "").startswith(AGENT)
            and event["objectRef"]["resource"] not in OWN
        ]


async def test_one_leads_and_the_other_takes_over(
    cluster: Cluster, namespace: str, replica: Callable[[], Replica]
) -> None:
    told = Told(cluster, namespace)
    first, second = replica(), replica()
    await first.start("operator-a")
    await told.declare("gate")
    assert await eventually(lambda: told.placed("gate"), "the first's word", seconds=60) == "PoolNotFound"
    await second.start("operator-b")
    await asyncio.sleep(5)
    assert await told.leader() == "operator-a"

    assert await first.end(signal.SIGTERM) == 0
    await told.declare("square")
    assert await eventually(lambda: told.placed("square"), "the second's word", seconds=60) == "PoolNotFound"
    assert await told.leader() == "operator-b"
    assert await second.end(signal.SIGTERM) == 0
    assert await told.leader() == ""


async def test_one_that_crashed_goes_on_where_it_was_and_writes_nothing_again(
    cluster: Cluster, namespace: str, replica: Callable[[], Replica]
) -> None:
    told, operator = Told(cluster, namespace), replica()
    await operator.start("operator-a")
    await told.declare("gate")
    await eventually(lambda: told.placed("gate"), "its word", seconds=60)
    # Events are told a moment after the status.
    await eventually(lambda: [w for w in told.writes() if w["objectRef"]["resource"] == "events"], "its Event")
    await operator.end(signal.SIGKILL)
    before = len(told.writes())

    await operator.start("operator-a")
    await told.declare("square")
    await eventually(lambda: told.placed("square"), "its word after the restart", seconds=60)
    again = [write for write in told.writes()[before:] if write["objectRef"].get("name") == "gate"]
    assert again == []
    assert await operator.end(signal.SIGTERM) == 0
