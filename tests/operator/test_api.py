"""What the API server is asked, and what its answers and silences become."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pancar_operator.api import CAMERAS, CONFIG_MAPS, NODES, STATEFUL_SETS, Api, ApiError, ApiUnreachable
from rigs.hurried import run
from rigs.watching import kubeconfig, refusal

PATH = CONFIG_MAPS.path("kota", "x")


class Server:
    """Keeps what it was asked, and gives one answer."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[Any] = []
        self.answer: web.Response | bytes = b"{}"

    @classmethod
    @asynccontextmanager
    async def serving(cls, folder: Path) -> AsyncIterator[tuple["Server", Api]]:
        server = cls()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server._any)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        (folder / "token").write_text("first")
        named = kubeconfig(folder, runner.addresses[0][1], tokenFile=str(folder / "token"))
        try:
            async with Api.connect(named) as api:
                yield server, api
        finally:
            await runner.cleanup()

    async def _any(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        body = await request.read()
        self.bodies.append(json.loads(body) if body else None)
        return web.Response(body=self.answer) if isinstance(self.answer, bytes) else self.answer


def test_paths_are_those_of_kubernetes() -> None:
    assert CONFIG_MAPS.path() == "/api/v1/configmaps"
    assert CONFIG_MAPS.path("kota", "x") == "/api/v1/namespaces/kota/configmaps/x"
    assert CAMERAS.path("kota", "gate", "status") == "/apis/pancar.dev/v1alpha1/namespaces/kota/cameras/gate/status"
    assert NODES.path("kota", "a") == "/api/v1/nodes/a"
    assert (STATEFUL_SETS.api_version, NODES.api_version) == ("apps/v1", "v1")


async def test_each_verb_asks_as_kubernetes_wants_it(tmp_path: Path) -> None:
    async with Server.serving(tmp_path) as (server, api):
        await api.get(PATH, limit=5, watch=False)
        await api.create(CONFIG_MAPS.path("kota"), {"a": 1})
        await api.apply(PATH, {"a": 2}, subresource="status")
        await api.delete(PATH, uid="u", grace_seconds=0)
    asked = [(each.method, each.path, dict(each.query)) for each in server.asked]
    manager = {"fieldManager": "pancar-operator"}
    assert asked == [
        ("GET", PATH, {"limit": "5", "watch": "false"}),
        ("POST", CONFIG_MAPS.path("kota"), manager),
        ("PATCH", f"{PATH}/status", {**manager, "force": "true"}),
        ("DELETE", PATH, {}),
    ]
    assert server.asked[2].content_type == "application/apply-patch+yaml"
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "u"}, "gracePeriodSeconds": 0}
    assert server.bodies == [None, {"a": 1}, {"a": 2}, options]


@pytest.mark.parametrize(
    ("status", "reason", "is_"),
    [
        (404, "NotFound", "not_found"),
        (409, "AlreadyExists", "conflict"),
        (410, "Expired", "gone"),
        (503, "ServiceUnavailable", "passing"),
        (429, "TooManyRequests", "passing"),
    ],
)
async def test_a_refusal_says_what_and_where(tmp_path: Path, status: int, reason: str, is_: str) -> None:
    async with Server.serving(tmp_path) as (server, api):
        server.answer = refusal(status, reason, "because", Retry_After="7")
        with pytest.raises(ApiError) as caught:
            await api.get(PATH)
    error = caught.value
    assert str(error) == f"{PATH}: because ({status} {reason})"
    assert (error.status, error.reason, error.retry_after) == (status, reason, 7)
    assert [name for name in ("not_found", "conflict", "gone", "passing") if getattr(error, name)] == [is_]


async def test_a_namespace_that_is_being_deleted_is_told_from_other_refusals(tmp_path: Path) -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
    told = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no", "details": causes}
    async with Server.serving(tmp_path) as (server, api):
        for body, ends in ((told, True), ({**told, "details": None}, False)):
            server.answer = web.json_response(body, status=403)
            with pytest.raises(ApiError) as raised:
                await api.create(PATH, {})
            assert raised.value.namespace_ends is ends


async def test_what_something_on_the_way_says_is_told(tmp_path: Path) -> None:
    async with Server.serving(tmp_path) as (server, api):
        server.answer = web.Response(status=502, text="<html>bad gateway</html>")
        with pytest.raises(ApiError, match=r"bad gateway.*502 Bad Gateway"):
            await api.get(PATH)
        server.answer = b"<html>sign in</html>"
        with pytest.raises(ApiError, match="what came is no JSON") as caught:
            await api.get(PATH)
        assert caught.value.passing


async def test_an_error_within_a_watch_ends_it(tmp_path: Path) -> None:
    events = [
        {"type": "ADDED", "object": {"metadata": {"name": "x" * 100_000}}},
        {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}},
    ]
    async with Server.serving(tmp_path) as (server, api):
        server.answer = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        stream = api.stream(CAMERAS.path(), resourceVersion="1")
        assert await anext(stream) == events[0]
        with pytest.raises(ApiError) as caught:
            await anext(stream)
    assert caught.value.gone
    assert dict(server.asked[0].query) == {"resourceVersion": "1", "watch": "true"}


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Api.connect(kubeconfig(tmp_path, port, token="hunter2")) as api:
        with pytest.raises(ApiUnreachable, match=f"GET {PATH}: ") as caught:
            await api.get(PATH)
    assert caught.value.passing
    assert "hunter2" not in str(caught.value)


def test_a_token_in_a_file_is_read_again(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        async with Server.serving(tmp_path) as (server, api):
            await api.get(PATH)
            (tmp_path / "token").write_text("second")
            await asyncio.sleep(61)
            await api.get(PATH)
            return [each.headers["Authorization"] for each in server.asked]

    assert run(20, scenario()) == ["Bearer first", "Bearer second"]


async def test_without_anything_to_go_by_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match=r"nothing-here.*name a kubeconfig"):
        async with Api.connect(tmp_path / "nothing-here"):
            pass
