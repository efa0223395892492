"""What is written of statuses, and what is not, as a server at the other end sees it: a real one in tests/cluster."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from pancar_operator import objects
from pancar_operator.api import Api
from pancar_operator.control import ControlPlane
from pancar_operator.model import Key, Pod, Relay
from pancar_operator.observe import Endpoint, Known
from pancar_operator.reconcile import Reconciler
from pancar_operator.report import CameraState, Report
from pancar_operator.statuses import HOLD, Statuses
from rigs.telling import camera, pool
from rigs.waiting import eventually
from rigs.watching import kubeconfig, refusal

GATE, SQUARE = Key("kota", "gate"), Key("kota", "square")
POOL = Key("kota", "city")


class Server:
    """Takes statuses and Events."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, str], dict[str, Any]] = {}
        # What was written: the object's name, how, and what.
        self.written: list[tuple[str, web.Request, dict[str, Any]]] = []
        self.events: list[dict[str, Any]] = []
        # Answers instead of taking what was written, first come.
        self.refuse: list[web.Response] = []
        self.knows_nothing = False

    def reasons(self, name: str) -> list[str]:
        """Why the camera was ready or not, in each status that was taken."""
        found = [body["status"]["conditions"] for written, _, body in self.written if written == name]
        return [each["reason"] for conditions in found for each in conditions if each["type"] == "Ready"]

    def told(self) -> list[str]:
        """Reasons of the Events of cameras."""
        return [event["reason"] for event in self.events if event["involvedObject"]["kind"] == "Camera"]

    async def status(self, request: web.Request) -> web.Response:
        if self.refuse:
            return self.refuse.pop(0)
        name, body = request.match_info["name"], await request.json()
        self.written.append((name, request, body))
        return refusal(404, "NotFound", "there is none") if self.knows_nothing else web.json_response(body)

    async def event(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.json_response({}, status=201)


class Leader:
    """The operator's core with one relay, and cameras that are declared by the test."""

    def __init__(self, api: Api) -> None:
        self.known = Known(time.monotonic, POOL)
        self._statuses = Statuses(api, self.known, lambda: datetime.now(UTC))
        self._control = ControlPlane(self.known, term=1, link_used=lambda _: None)
        self._reconciler = Reconciler(self.known, self._control, self._statuses.note)
        self._attach()
        self.known.put_pool(*objects.pool(_made(pool(1))), POOL)

    def declare(self, *keys: Key, status: dict[str, Any] | None = None) -> None:
        """With a status, the leader before had them on the relay, which says that it holds them."""
        if status is not None:
            self._attach(frozenset(keys))
        for key in keys:
            body = _made(camera(key.name))
            self.known.put_camera(*objects.camera({**body, "status": status or {}}), key)

    def declare_late(self, key: Key, status: dict[str, Any]) -> None:
        """The leader before had it on the relay, whose pod is ready and which has not attached."""
        self.known.forget("u0")
        self.known.put_pod(Pod("u0", "kota", "u0", POOL, 0, running=True, ready=True))
        self.known.put_camera(*objects.camera({**_made(camera(key.name)), "status": status}), key)
        self._control.expect("u0", self.known.presume("u0"))
        self._reconciler.once()

    def report(self, key: Key, state: CameraState = CameraState.LIVE, reason: str = "", message: str = "") -> None:
        self.known.report(key, Report("u0", state, reason, message, generation=1))
        self._reconciler.once()

    async def run(self) -> None:
        self._reconciler.once()
        await self._statuses.run()

    def _attach(self, holding: frozenset[Key] = frozenset()) -> None:
        self.known.attach(Relay("u0", POOL), Endpoint("https://192.0.2.1", ()), holding)


def _made(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {**body["metadata"], "namespace": "kota", "uid": f"{body['metadata']['name']}-1", "generation": 1}
    return {**body, "metadata": metadata}


@asynccontextmanager
async def leading(server: Server, folder: Path) -> AsyncIterator[Leader]:
    app = web.Application()
    app.router.add_patch("/apis/pancar.dev/v1alpha1/namespaces/kota/{plural}/{name}/status", server.status)
    app.router.add_post("/api/v1/namespaces/kota/events", server.event)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with Api.connect(kubeconfig(folder, runner.addresses[0][1])) as api:
            leader = Leader(api)
            running = asyncio.create_task(leader.run())
            try:
                yield leader
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    finally:
        await runner.cleanup()


async def quiet() -> None:
    """Long enough for a write that should not be."""
    await asyncio.sleep(0.3)


async def test_a_status_is_applied_once_and_says_nothing_twice(tmp_path: Path) -> None:
    server = Server()
    async with leading(server, tmp_path) as leader:
        leader.declare(GATE)
        leader.report(GATE)
        leader.report(GATE)
        await eventually(lambda: server.reasons("gate"), "the status is written")
        leader.report(GATE)
        await quiet()
        assert server.reasons("gate") == ["Live"]
    [(_, request, body)] = [each for each in server.written if each[0] == "gate"]
    assert request.content_type == "application/apply-patch+yaml"
    assert dict(request.query) == {"fieldManager": "pancar-operator", "force": "true"}
    assert body["metadata"] == {"name": "gate", "namespace": "kota"}
    assert "None" not in str(body), "what is not known is left out"


async def written_before(server: Server, folder: Path) -> dict[str, Any]:
    """The status that a leader wrote of the gate, which it had live, and of which the server forgets the writing."""
    async with leading(server, folder) as leader:
        leader.declare(GATE)
        leader.report(GATE)
        await eventually(lambda: server.reasons("gate"), "the status is written")
    [status] = [body["status"] for name, _, body in server.written if name == "gate"]
    server.written.clear()
    return dict(status)


async def test_the_next_leader_writes_nothing_that_is_written(tmp_path: Path) -> None:
    server = Server()
    status = await written_before(server, tmp_path)
    async with leading(server, tmp_path) as leader:
        leader.declare(GATE, status=status)
        leader.report(GATE)
        await quiet()
        assert server.reasons("gate") == []


async def test_of_a_relay_that_is_late_the_next_leader_writes_nothing(tmp_path: Path) -> None:
    server = Server()
    status = await written_before(server, tmp_path)
    async with leading(server, tmp_path) as leader:
        leader.declare_late(GATE, status)
        await asyncio.sleep(HOLD + 0.5)
        assert server.reasons("gate") == []
        leader.declare(GATE, status=status)
        leader.report(GATE, CameraState.OFFLINE, "Unreachable", "It cannot be reached.")
        await eventually(lambda: server.reasons("gate") == ["Unreachable"], "what it says is written")


async def test_what_was_not_taken_is_tried_again_and_the_newest_is_told(tmp_path: Path) -> None:
    server = Server()
    server.refuse = [refusal(503, "ServiceUnavailable", "not yet") for _ in range(3)]
    async with leading(server, tmp_path) as leader:
        leader.declare(GATE)
        leader.report(GATE)
        await eventually(lambda: len(server.refuse) < 3, "it was tried")
        leader.report(GATE, CameraState.OFFLINE, "Refused")
        leader.report(GATE, CameraState.OFFLINE, "Unreachable")
        await eventually(lambda: server.reasons("gate"), "it is told in the end")
        assert server.reasons("gate") == ["Unreachable"]


async def test_a_camera_that_is_no_more_is_let_go(tmp_path: Path) -> None:
    server = Server()
    server.knows_nothing = True
    async with leading(server, tmp_path) as leader:
        leader.declare(GATE)
        leader.report(GATE)
        await eventually(lambda: server.reasons("gate"), "it was tried")
        leader.known.drop_camera(GATE)
        leader.declare(SQUARE)
        leader.report(SQUARE)
        await eventually(lambda: server.reasons("square"), "the others are told of")
        await asyncio.sleep(1.5)
        assert server.reasons("gate") == ["Live"]


async def test_what_a_camera_said_gives_no_password_away(tmp_path: Path) -> None:
    server = Server()
    said = {GATE: "rtsp://admin:hunter2@192.0.2.1/ says no", SQUARE: "Authorization: Bearer hunter2"}
    async with leading(server, tmp_path) as leader:
        leader.declare(*said)
        for _ in range(2):
            for key, message in said.items():
                leader.report(key, CameraState.OFFLINE, "Refused", message)
            await eventually(lambda: len(server.told()) == 4, "they were placed and are dark")
        await quiet()
        assert server.reasons("gate") == server.reasons("square") == ["Refused"], "redacted, it is still the same"
    assert "hunter2" not in str(server.written) + str(server.events)


async def test_what_is_missing_for_a_moment_is_not_told(tmp_path: Path) -> None:
    """A camera before its pool, in the same file."""
    server = Server()
    async with leading(server, tmp_path) as leader:
        leader.known.drop_pool(POOL)
        leader.declare(GATE)
        leader.report(GATE)
        await quiet()
        leader.known.put_pool(*objects.pool(_made(pool(1))), POOL)
        leader.report(GATE)
        leader.report(GATE)
        await eventually(lambda: server.reasons("gate"), "the status is written")
        assert server.reasons("gate") == ["Live"]
        await eventually(server.told, "it was placed")
        assert server.told() == ["Placed"]
