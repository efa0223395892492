"""The operator's part that tells people, on a real API server: what relays would report is said by the test."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pancar_operator import objects
from pancar_operator.api import CAMERAS, POOLS, Api
from pancar_operator.control import ControlPlane
from pancar_operator.model import API_VERSION, Key, Pod, Relay
from pancar_operator.observe import Endpoint, Known
from pancar_operator.reconcile import Reconciler
from pancar_operator.reflector import Reflector
from pancar_operator.report import CameraState, Report, Video
from pancar_operator.statuses import Statuses
from rigs.waiting import eventually

POOL: Final = "city"
REVISION: Final = "a"
VIDEO: Final = Video("H264", "42e01f", 1280, 720, 25.0)


def camera(name: str, **spec: Any) -> dict[str, Any]:
    source = {"main": {"url": f"rtsp://192.0.2.10/{name}"}}
    return {"apiVersion": API_VERSION, "kind": "Camera", "metadata": {"name": name}, "spec": {"source": source, **spec}}


def pool(replicas: int) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "RelayPool", "metadata": {"name": POOL}, "spec": {"replicas": replicas}}


class Telling:
    """One leader; a second one afterwards knows what the API server holds, and what the test says."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.pool = Key(namespace, POOL)
        self.known = Known(time.monotonic, self.pool)
        self.trouble: dict[Key, str] = {}
        self._statuses = Statuses(api, self.known, lambda: datetime.now(UTC), trouble=lambda: self.trouble)
        control = ControlPlane(self.known, term=1, link_used=lambda _: None)
        self.reconciler = Reconciler(self.known, control, self._statuses.note)
        self._reflectors = [
            Reflector(api, CAMERAS, put=self._put_camera, drop=self._drop_camera, namespace=namespace),
            Reflector(api, POOLS, put=self._put_pool, drop=self._drop_pool, namespace=namespace),
        ]

    @classmethod
    @asynccontextmanager
    async def leading(
        cls, kubeconfig: Path, namespace: str, *, relays: int, reports: Iterable[tuple[Key, Report]] = ()
    ) -> "AsyncIterator[Telling]":
        """With so many relays, which have said already what they hold and report."""
        async with Api.connect(kubeconfig) as api:
            telling = cls(api, namespace)
            tasks = [asyncio.create_task(reflector.run()) for reflector in telling._reflectors]
            try:
                await eventually(lambda: all(each.synced for each in telling._reflectors), "all is known")
                said = list(reports)
                for ordinal in range(relays):
                    telling.attach(ordinal, frozenset(key for key, report in said if report.relay == f"u{ordinal}"))
                for key, report in said:
                    telling.known.report(key, report)
                telling.known.put_size(telling.pool, relays)
                telling.known.put_revision(telling.pool, REVISION)
                tasks += [asyncio.create_task(each.run()) for each in (telling.reconciler, telling._statuses)]
                yield telling
                for task in tasks:
                    if task.done():
                        task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def attach(self, ordinal: int, holding: frozenset[Key] = frozenset()) -> None:
        uid = f"u{ordinal}"
        name = f"{POOL}-{ordinal}"
        pod = Pod(uid, self.pool.namespace, name, self.pool, ordinal, "node-a", running=True, ready=True, revision="a")
        self.known.put_pod(pod)
        self.known.attach(Relay(uid, self.pool), Endpoint("https://192.0.2.1:8443", ()), holding)

    def lose(self, ordinal: int) -> None:
        """The relay's pod is gone, and its stream."""
        self.known.drop_pod(f"u{ordinal}")
        self.known.forget(f"u{ordinal}")

    @property
    def cameras(self) -> list[Key]:
        return sorted(self.known.cameras)

    def live(self, *keys: Key) -> None:
        self._report(keys, CameraState.LIVE)

    def dark(self, *keys: Key, reason: str = "Unreachable") -> None:
        self._report(keys, CameraState.OFFLINE, reason, "The camera's address cannot be reached.")

    async def placed(self, count: int) -> None:
        await eventually(lambda: len(self.reconciler.plan.assignments) == count, f"{count} cameras are placed")

    def _report(self, keys: Iterable[Key], state: CameraState, reason: str = "", message: str = "") -> None:
        for key in keys:
            relay = self.reconciler.plan.assignments[key].relay
            video = VIDEO if state is CameraState.LIVE else None
            generation = self.known.objects[key].generation
            self.known.report(key, Report(relay, state, reason, message, video=video, generation=generation))

    def _put_camera(self, body: dict[str, Any]) -> None:
        self.known.put_camera(*objects.camera(body), objects.key(body))

    def _drop_camera(self, key: Key, _uid: str) -> None:
        self.known.drop_camera(key)

    def _put_pool(self, body: dict[str, Any]) -> None:
        self.known.put_pool(*objects.pool(body), objects.key(body))

    def _drop_pool(self, key: Key, _uid: str) -> None:
        self.known.drop_pool(key)
