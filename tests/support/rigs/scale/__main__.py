"""`make bench-scale`: a city of 10,417 cameras on a real API server, with 120 simulated relays. Prints figures.

It makes a cluster of its own, installs the chart without its operator, runs the operator as a process beside it with
the chart's service account, and measures from outside: what the relays are told and when, and what the audit log says
was written. About a quarter of an hour, of which five minutes are quiet.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pancar_cli.bench.figures import BenchError, Figure
from pancar_operator.api import Api, ApiError
from rigs import chart
from rigs.cluster import running
from rigs.cluster.helm import Helm
from rigs.scale import audit, city, node, relays
from rigs.scale.operator import Process
from rigs.scale.operator import running as operator_running

NAMESPACE: Final = "pancar"
ACCOUNT: Final = "pancar-operator"
AUDIENCE: Final = "pancar-operator"
APPLIERS: Final = 16
CAPACITY: Final = 100
DARK: Final = 3000
POLL: Final = 0.05


class Bench:
    """The phases, one after the other; each adds its figures."""

    def __init__(self, cluster: running.Cluster, api: Api, process: Process, cameras: int, count: int) -> None:
        self._cluster, self._api, self._process = cluster, api, process
        self._manifests = list(city.cameras(cameras))
        self._count = count
        self._orders = relays.Orders()
        self._relays: dict[str, relays.Relay] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._audit = audit.Audit(cluster.layout.audit, f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
        self._size: dict[str, float | int | str] = {"cameras": cameras, "relays": count}
        self.figures: list[Figure] = []

    async def run(self, quiet_s: float) -> None:
        await self._attach_relays()
        await self._apply_cameras()
        await self._edit_one()
        await self._lose_a_relay()
        await self._restart()
        await self._rest(quiet_s)
        await self._go_dark()

    async def end(self) -> None:
        for life in self._lives.values():
            life.cancel()
        await asyncio.gather(*self._lives.values(), return_exceptions=True)
        self._audit.close()

    async def _attach_relays(self) -> None:
        for namespace in city.DISTRICTS:
            await self._api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        pool = city.pool(NAMESPACE, node.NODE, relays=self._count, cameras=CAPACITY)
        await self._api.create(f"/apis/{city.API_VERSION}/namespaces/{NAMESPACE}/relaypools", pool)
        await self._until("every relay's pod runs", self._all_running, 120)
        authorities = await self._api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{city.POOL}-authorities")
        address = self._process.address(authorities["data"]["ca.crt"].encode())
        for pod in await node.pods(self._api, NAMESPACE, city.POOL):
            uid, name = str(pod["metadata"]["uid"]), str(pod["metadata"]["name"])
            relay = relays.Relay(uid, name, f"{NAMESPACE}/{city.POOL}", CAPACITY, self._orders)
            self._relays[uid] = relay
            self._lives[uid] = asyncio.create_task(relay.run(address, self._tokens(pod)))
        await self._until("every relay is attached", lambda: len(self._orders.acknowledged) == self._count, 120)

    def _tokens(self, pod: dict[str, Any]) -> Callable[[], Any]:
        return lambda: node.token(self._api, pod, AUDIENCE)

    async def _all_running(self) -> bool:
        found = await node.pods(self._api, NAMESPACE, city.POOL)
        return len(found) == self._count and all(pod["status"].get("phase") == "Running" for pod in found)

    async def _apply_cameras(self) -> None:
        """Applied to all placed, ordered and written."""
        waiting = iter(self._manifests)
        since = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(APPLIERS):
                group.create_task(self._create(waiting))
        applied, applied_at = time.monotonic(), time.time()
        total = len(self._manifests)
        await self._until("every camera is placed", lambda: self._placed() == total, 180)
        placed = time.monotonic()
        self._add("scale.applied_s", applied - since, "s")
        self._add("scale.placed_s", placed - since, "s", asked=120)
        ordered = max(at for at, _ in self._orders.acknowledged.values())
        self._add("scale.ordered_after_last_s", max(0.0, ordered - applied), "s", asked=5)
        # Not asked often: it goes through the whole log.
        await self._until("every status is written", lambda: len(self._statuses()) == total, 300, poll=1.0)
        await self._settled()
        writes = self._statuses()
        ended = max(write.at for write in self._audit.writes if write.resource == "cameras/status")
        self._add("scale.statuses_after_last_s", max(0.0, ended - applied_at), "s", asked=45)
        self._add("scale.writes_per_camera", statistics.fmean(writes.values()), "writes", most=max(writes.values()))
        loads = Counter({uid: len(relay.cameras) for uid, relay in self._relays.items()})
        mean = total / self._count
        self._add("scale.load_off_mean", max(abs(load - mean) for load in loads.values()) / mean, "ratio", asked=0.1)

    async def _create(self, waiting: Iterator[dict[str, Any]]) -> None:
        for manifest in waiting:
            path = f"/apis/{city.API_VERSION}/namespaces/{manifest['metadata']['namespace']}/cameras"
            await self._api.create(path, manifest)

    async def _edit_one(self) -> None:
        """One camera changed → its relay told."""
        delays = [await self._edit(number) for number in range(9)]
        self._add("scale.edit_ms", statistics.median(delays), "ms", asked=500, worst=round(max(delays), 1))

    async def _edit(self, number: int) -> float:
        """Milliseconds from the request to the order."""
        manifest, title = self._manifests[number * 7 % len(self._manifests)], f"Edited {number}"
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        body = {**manifest, "spec": {**manifest["spec"], "title": title}}
        seen, since = len(self._orders.log), time.monotonic()
        await self._api.apply(f"/apis/{city.API_VERSION}/namespaces/{namespace}/cameras/{name}", body)
        await self._until("the edited camera's relay is told", lambda: self._told(seen, title) is not None, 30)
        told = self._told(seen, title)
        assert told is not None
        await asyncio.sleep(0.5)
        return (told - since) * 1e3

    def _told(self, seen: int, title: str) -> float | None:
        return next((order.at for order in self._orders.log[seen:] if order.title == title), None)

    async def _lose_a_relay(self) -> None:
        """A relay's process ends and its pod with it: all of its cameras elsewhere, no other camera moved."""
        lost = next(iter(self._relays))
        relay = self._relays.pop(lost)
        keys = set(relay.cameras)
        seen, since = len(self._orders.log), time.monotonic()
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{relay.name}"
        await self._api.delete(path, grace_seconds=0)
        self._lives.pop(lost).cancel()
        await self._until("the lost relay's cameras are elsewhere", lambda: keys <= self._ordered_since(seen), 60)
        ended = max(order.at for order in self._orders.log[seen:])
        strays = self._ordered_since(seen) - keys
        self._add("scale.relay_lost_s", ended - since, "s", asked=1, moved=len(keys), strays=len(strays))
        self._orders.acknowledged.pop(lost, None)
        await self._replace(relay.name)

    async def _replace(self, name: str) -> None:
        """The StatefulSet makes a new pod of that name; its relay comes."""
        await self._until("the lost relay's pod is made anew", self._all_running, 60)
        authorities = await self._api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{city.POOL}-authorities")
        address = self._process.address(authorities["data"]["ca.crt"].encode())
        pods = await node.pods(self._api, NAMESPACE, city.POOL)
        pod = next(pod for pod in pods if pod["metadata"]["name"] == name)
        uid = str(pod["metadata"]["uid"])
        relay = relays.Relay(uid, name, f"{NAMESPACE}/{city.POOL}", CAPACITY, self._orders)
        self._relays[uid] = relay
        self._lives[uid] = asyncio.create_task(relay.run(address, self._tokens(pod)))
        await self._until("the new relay is attached", lambda: uid in self._orders.acknowledged, 60)
        await self._settled()

    def _ordered_since(self, seen: int) -> set[relays.Key]:
        return {order.camera for order in self._orders.log[seen:]}

    async def _restart(self) -> None:
        """The operator's process killed and started: from its start to the state that every relay acknowledged."""
        placed = {key: uid for uid, relay in self._relays.items() for key in relay.cameras}
        term = max(term for _, term in self._orders.acknowledged.values())
        # A clean end gives the Lease up: a killed one's would have to run out first.
        self._process.end(signal.SIGTERM)
        since, since_at = time.monotonic(), time.time()
        self._process.start()
        await self._until("all relays follow the new leader", lambda: self._follow(term), 120)
        steady = max(at for at, _ in self._orders.acknowledged.values())
        self._add("operator.restart_s", steady - since, "s", asked=15)
        await self._settled()
        now = {key: uid for uid, relay in self._relays.items() for key in relay.cameras}
        moved = sum(1 for key, uid in placed.items() if now.get(key) != uid)
        self._add("operator.moves_at_restart", moved, "cameras", asked=0)
        writes = [write for write in self._audit.read() if write.at > since_at]
        self._add("operator.writes_at_restart", len(writes), "writes")

    def _follow(self, term: int) -> bool:
        return all(self._orders.acknowledged.get(uid, (0.0, 0))[1] > term for uid in self._relays)

    async def _rest(self, seconds: float) -> None:
        before, cpu = len(self._audit.read()), self._process.cpu_s()
        await asyncio.sleep(seconds)
        writes = self._audit.read()[before:]
        now, most = self._process.rss_mib()
        self._add("operator.writes_at_rest", len(writes), "writes", asked=0, seconds=seconds)
        self._add("operator.cpu_at_rest", (self._process.cpu_s() - cpu) / seconds, "cores")
        self._add("operator.rss_mib", now, "MiB", asked=150, most=round(most, 1))
        for write in writes[:10]:
            sys.stderr.write(f"written at rest: {write}\n")

    async def _go_dark(self) -> None:
        """Thousands of cameras lost in one moment: the writes are bounded."""
        wanted = min(DARK, len(self._manifests) // 3)
        before, left = len(self._audit.read()), wanted
        for relay in self._relays.values():
            left -= relay.darken(left)
        await self._until(
            "every dark camera's status is written",
            lambda: len(audit.statuses(self._audit.read()[before:])) >= wanted,
            300,
        )
        await self._settled()
        writes = self._audit.read()[before:]
        spent = max(write.at for write in writes) - min(write.at for write in writes)
        self._add("scale.dark_writes_per_s", audit.fastest(writes), "writes/s", asked=50, dark=wanted)
        self._add("scale.dark_s", spent, "s", dark=wanted)
        events = sum(1 for write in writes if write.resource == "events")
        self._add("scale.dark_events", events, "events", dark=wanted)

    def _statuses(self) -> Mapping[str, int]:
        """How often each camera's status was written."""
        return audit.statuses(self._audit.read())

    def _placed(self) -> int:
        return sum(len(relay.cameras) for relay in self._relays.values())

    async def _settled(self) -> None:
        """Until nothing was written for three seconds."""
        while True:
            before = len(self._audit.read())
            await asyncio.sleep(3.0)
            if len(self._audit.read()) == before:
                return

    async def _until(self, what: str, holds: Callable[[], Any], seconds: float, poll: float = POLL) -> None:
        deadline = time.monotonic() + seconds
        while True:
            held = holds()
            if held is True or (asyncio.iscoroutine(held) and await held):
                return
            if self._process.ended():
                raise BenchError(f"the operator ended while waiting until {what}:\n{self._process.last_words()}")
            for life in self._lives.values():
                if life.done():
                    life.result()
            if time.monotonic() > deadline:
                raise BenchError(f"not within {seconds:g} s: {what}. The operator said:\n{self._process.last_words()}")
            await asyncio.sleep(poll)

    def _add(self, name: str, value: float, unit: str, **conditions: float) -> None:
        figure = Figure(name, value, unit, {**self._size, **conditions})
        self.figures.append(figure)
        sys.stdout.write(figure.as_text() + "\n")
        sys.stdout.flush()


def _install(cluster: running.Cluster, folder: Path) -> None:
    """The chart, without its operator; what it gives the service account is what the process has."""
    helm = Helm(folder, cluster.kube.kubeconfig)
    helm("install", "pancar", chart.CHART, f"--namespace={NAMESPACE}", "--create-namespace")
    cluster.kube("delete", "deployment", "--all", f"--namespace={NAMESPACE}")
    cluster.kube.until("condition=Established", "crd/cameras.pancar.dev", "crd/relaypools.pancar.dev")


def _free_ports(count: int) -> tuple[int, ...]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(int(one.getsockname()[1]) for one in sockets)


async def _bench(cluster: running.Cluster, folder: Path, arguments: argparse.Namespace) -> list[Figure]:
    ports = _free_ports(3)
    kubeconfig = cluster.kubeconfig_of(NAMESPACE, ACCOUNT)
    process = Process(kubeconfig, NAMESPACE, city.POOL, (ports[0], ports[1], ports[2]), folder / "operator.log")
    async with Api.connect(cluster.kube.kubeconfig) as api:
        await node.join(api)
        alive = [asyncio.create_task(node.live(api)), asyncio.create_task(node.run_pods(api, NAMESPACE, city.POOL))]
        bench = Bench(cluster, api, process, arguments.cameras, arguments.relays)
        try:
            with operator_running(process):
                await bench.run(arguments.quiet)
        finally:
            await bench.end()
            for task in alive:
                task.cancel()
            await asyncio.gather(*alive, return_exceptions=True)
    return bench.figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, default=10_417)
    parser.add_argument("--relays", type=int, default=120)
    parser.add_argument("--quiet", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, one object a line")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the operator's log")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as made, running.cluster() as cluster:
            folder = Path(made)
            _install(cluster, folder)
            try:
                figures = asyncio.run(_bench(cluster, folder, arguments))
            finally:
                if arguments.log is not None and (log := folder / "operator.log").exists():
                    arguments.log.write_bytes(log.read_bytes())
    except (BenchError, ApiError, running.ClusterError) as error:
        sys.stderr.write(f"bench-scale: {error}\n")
        return 1
    if arguments.json is not None:
        arguments.json.write_text("".join(figure.as_json() + "\n" for figure in figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
