"""Relays in real pods without their operator: a fleet, what it is fed by, and the planner, for tests on a cluster.

The test is the control plane: it says which pods' relays are attached.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pancar_operator import objects, specs
from pancar_operator.api import NODES, PODS, POOLS, Api
from pancar_operator.authority import Authorities, Issuer
from pancar_operator.fleet import Fleet
from pancar_operator.model import API_VERSION, Key, Pod, Relay
from pancar_operator.observe import Endpoint, Known
from pancar_operator.plan import Plan, plan
from pancar_operator.reflector import Reflector
from rigs.waiting import eventually


def pool(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "RelayPool", "metadata": {"name": "city"}, "spec": spec}


class RunningFleet:
    """Of the pools of one namespace."""

    def __init__(self, api: Api, namespace: str, image: str) -> None:
        self.known = Known(time.monotonic, Key(namespace, "city"))
        self.plan = Plan()
        # Every relay that is ready attaches at once.
        self.attaching = False
        deployment = specs.Deployment(image, "Never", f"nobody.{namespace}.svc:8443", f"nobody.{namespace}.svc:8444")
        self.fleet = Fleet(api, self.known, deployment, _authorities)
        put_pool, put_pod = self._put_pool, self._put_pod
        self._reflectors = [
            Reflector(api, POOLS, namespace=namespace, put=put_pool, drop=lambda key, _: self.known.drop_pool(key)),
            Reflector(api, PODS, namespace=namespace, labels=specs.POOL_LABEL, put=put_pod, drop=self._drop_pod),
            Reflector(api, NODES, put=lambda body: self.known.put_node(objects.node(body)), drop=self._drop_node),
        ]

    def pod(self, name: str) -> Pod | None:
        return next((pod for pod in self.known.pods.values() if pod.name == name), None)

    def pods(self, holds: Callable[[Pod], bool] = lambda _: True) -> set[str]:
        """The names of those for which it holds."""
        return {pod.name for pod in self.known.pods.values() if holds(pod)}

    def attach(self, pod: Pod) -> None:
        self.known.attach(Relay(pod.uid, pod.pool, cameras=200), Endpoint(f"https://{pod.ip}:8443", ()))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.fleet.run())
            for reflector in self._reflectors:
                group.create_task(reflector.run())
            group.create_task(self._plans())

    async def _plans(self) -> None:
        await eventually(self._synced, "all is known")
        while True:
            self.known.changed.clear()
            self.known.expire()
            for pod in [*self.known.pods.values()] if self.attaching else ():
                if pod.ready and not pod.deleting and pod.uid not in self.known.relays:
                    self.attach(pod)
            self.plan = plan(self.known.snapshot(self.plan.assignments))
            self.fleet.want(self.plan)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.known.expire()):
                    await self.known.changed.wait()
            await asyncio.sleep(0.05)

    def _synced(self) -> bool:
        return self.fleet.synced and all(reflector.synced for reflector in self._reflectors)

    def _put_pool(self, body: dict[str, Any]) -> None:
        self.known.put_pool(*objects.pool(body), objects.key(body))

    def _put_pod(self, body: dict[str, Any]) -> None:
        pod = objects.pod(body)
        if pod is not None:
            self.known.put_pod(pod)

    def _drop_pod(self, _: Key, uid: str) -> None:
        # Its relay's stream ends with it.
        self.known.detach(uid)
        self.known.drop_pod(uid)

    def _drop_node(self, key: Key, _: str) -> None:
        self.known.drop_node(key.name)


@contextlib.asynccontextmanager
async def running_fleet(kubeconfig: Path, namespace: str, image: str) -> AsyncIterator[RunningFleet]:
    async with Api.connect(kubeconfig) as api:
        fleet = RunningFleet(api, namespace, image)
        running = asyncio.create_task(fleet.run())
        try:
            yield fleet
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


@cache
def _authorities() -> bytes:
    """The same for every fleet, as they are kept in a Secret."""
    return Issuer(Authorities.new(_now()), _now).bundle


def _now() -> datetime:
    return datetime.now(UTC)
