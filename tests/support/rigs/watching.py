"""The list and watch of an API server over real HTTP, for what a real one does seldom or takes minutes for.

Gaps in the history (410), connections that break or fall silent, servers without initial events. What a real one does
every day is tested on one, in tests/cluster.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from pancar_operator.api import CAMERAS

Body = dict[str, Any]


class Watched:
    """One kind of objects, by namespace and name."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[tuple[str, str], Body] = {}
        # What happened, with the version it made.
        self.history: list[tuple[int, str, Body]] = []
        # Versions below are forgotten.
        self.oldest = 0
        self.initial_events = True
        # Queries that came, in order.
        self.asked: list[dict[str, str]] = []
        # Answers instead of what was asked, first come.
        self.refuse: list[web.Response] = []
        # Watches say nothing any more, until they are broken.
        self.silent = False
        self._stirred = asyncio.Event()
        self._broken = 0

    @classmethod
    @asynccontextmanager
    async def serving(cls, folder: Path) -> AsyncIterator[tuple[Self, Path]]:
        """It, and a kubeconfig for it in `folder`."""
        watched = cls()
        app = web.Application()
        app.router.add_get(CAMERAS.path(), watched._get)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield watched, kubeconfig(folder, runner.addresses[0][1], token="hunter2")
        finally:
            watched.break_off()
            await runner.cleanup()

    def put(self, name: str, *, namespace: str = "kota", uid: str = "") -> None:
        before = self.objects.get((namespace, name))
        uid = uid or (before["metadata"]["uid"] if before else f"{name}-1")
        self.version += 1
        body = {"metadata": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": str(self.version)}}
        self.objects[namespace, name] = body
        self._happened("MODIFIED" if before else "ADDED", body)

    def delete(self, name: str, *, namespace: str = "kota") -> None:
        self.version += 1
        body = copy.deepcopy(self.objects.pop((namespace, name)))
        body["metadata"]["resourceVersion"] = str(self.version)
        self._happened("DELETED", body)

    def bookmark(self) -> None:
        self._happened("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def forget(self) -> None:
        """Compacts the history: whoever is behind has a gap."""
        self.oldest = self.version = self.version + 1
        self.history.clear()

    def break_off(self) -> None:
        """Breaks all watches."""
        self._broken += 1
        self._stir()

    def _happened(self, what: str, body: Body) -> None:
        self.history.append((self.version, what, body))
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if self.refuse:
            return self.refuse.pop(0)
        if "watch" not in request.query:
            return self._page(request)
        if "sendInitialEvents" in request.query and not self.initial_events:
            return refusal(422, "Invalid", "sendInitialEvents is forbidden for watch")
        return await self._watch(request)

    def _page(self, request: web.Request) -> web.Response:
        begin, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        items = sorted(self.objects.values(), key=lambda body: str(body["metadata"]["name"]))
        token = str(begin + limit) if begin + limit < len(items) else ""
        metadata = {"resourceVersion": str(self.version), "continue": token}
        return web.json_response({"metadata": metadata, "items": items[begin : begin + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        broken = self._broken
        if "sendInitialEvents" in request.query:
            for body in list(self.objects.values()):
                await _say(response, "ADDED", body)
            at = self.version
            annotations = {"k8s.io/initial-events-end": "true"}
            await _say(response, "BOOKMARK", {"metadata": {"resourceVersion": str(at), "annotations": annotations}})
        elif (at := int(request.query["resourceVersion"])) < self.oldest:
            await _say(response, "ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
            return response
        said = len([entry for entry in self.history if entry[0] <= at])
        while self._broken == broken:
            stirred = self._stirred
            while not self.silent and said < len(self.history):
                _, what, body = self.history[said]
                said += 1
                await _say(response, what, body)
            await stirred.wait()
        # In the middle of an event, as a cable that is pulled does.
        await response.write(b'{"type":"ADDED","obj')
        request.transport.abort() if request.transport else None
        return response


def refusal(status: int, reason: str, message: str, **headers: str) -> web.Response:
    told = {"kind": "Status", "code": status, "reason": reason, "message": message}
    return web.json_response(told, status=status, headers={name.replace("_", "-"): it for name, it in headers.items()})


async def _say(response: web.StreamResponse, what: str, body: Body) -> None:
    await response.write(json.dumps({"type": what, "object": body}).encode() + b"\n")


def kubeconfig(folder: Path, port: int, **user: str) -> Path:
    """A file in `folder` that names a server without TLS on this machine."""
    named = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "it", "user": user}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(named))
    return path
