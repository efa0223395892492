"""What the wall asks of its relay: who am I, which cameras, what happens to them (server-sent events).

`web` mounts these routes behind its authentication, all but the exchange of a one-time link.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from pancar_relay.desired import CameraKey
from pancar_relay.errors import LinkRefusedError
from pancar_relay.eventstream import EventStream
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.problems import HttpError, retry_after
from pancar_relay.stats import MAX_AGE, Stats
from pancar_relay.viewer.attempts import Attempts
from pancar_relay.viewer.rights import Rights, Viewer
from pancar_relay.viewer.whep import VIEWER

COOKIE = "pancar"
# Wrong links of one address: so many at once, and then so many a second.
WRONG_LINKS = (10.0, 0.2)
PING = 2.0
# Rights of an open event stream are looked at this often.
WATCH = 1.0
STREAMS_LIMIT = 512


class Api:
    def __init__(self, cameras: Cameras, rights: Rights, stats: Stats, on_spent: Callable[[], None]) -> None:
        self._cameras = cameras
        self._rights = rights
        self._stats = stats
        self._on_spent = on_spent
        self._attempts: Attempts[str] = Attempts(*WRONG_LINKS)
        self._streams: set[EventStream[CameraKey]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/session", self._exchange),
            web.get("/api/v1/session", self._session, allow_head=False),
            web.get("/api/v1/cameras", self._list, allow_head=False),
            web.get("/api/v1/events", self._events, allow_head=False),
        ]

    async def close(self) -> None:
        """Ends the event streams."""
        for stream in self._streams:
            stream.close()

    async def _exchange(self, request: web.Request) -> web.Response:
        now, address = time.monotonic(), request.remote or ""
        wait = self._attempts.retry_after(address, now)
        if wait is not None:
            raise HttpError(403, "Too many wrong links from this address.", headers=retry_after(wait))
        code = await _code(request)
        try:
            token, viewer = self._rights.exchange(code, time.time())
        except LinkRefusedError as error:
            self._attempts.spend(address, now)
            raise HttpError(403, "This link is unknown, already used or too old. Ask for a new one.") from error
        self._on_spent()
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            token,
            max_age=max(0, int(viewer.expires - time.time())),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    async def _session(self, request: web.Request) -> web.Response:
        viewer = request[VIEWER]
        cameras = list(viewer.cameras)
        return web.json_response({"subject": viewer.subject, "expires": rfc3339(viewer.expires), "cameras": cameras})

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"cameras": await self._visible(request[VIEWER])})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._streams) >= STREAMS_LIMIT:
            raise HttpError(503, "Too many walls are open at this relay.", headers=retry_after(PING))
        stream: EventStream[CameraKey] = await EventStream.open(request)
        self._streams.add(stream)
        unlisten = self._cameras.listen(stream.touch)
        try:
            await self._serve(stream, request[VIEWER])
        except (ConnectionError, TimeoutError):
            stream.abort()
        finally:
            unlisten()
            self._streams.discard(stream)
        return stream.response

    async def _serve(self, stream: EventStream[CameraKey], viewer: Viewer) -> None:
        await stream.send("snapshot", {"cameras": await self._visible(viewer)})
        next_ping = time.monotonic() + PING
        while not stream.closed:
            if not self._rights.holds(viewer, time.time()):
                await stream.send("expired", {})
                return
            rest = min(WATCH, next_ping - time.monotonic(), viewer.expires - time.time())
            changed = [key for key in await stream.changed(max(0.0, rest)) if viewer.may_watch(key)]
            if changed:
                await self._tell(stream, changed)
            if time.monotonic() >= next_ping:
                await stream.send("ping", {})
                next_ping = time.monotonic() + PING

    async def _tell(self, stream: EventStream[CameraKey], changed: list[CameraKey]) -> None:
        # Taken after the change: a camera just live again must not come with the age of its last frame before.
        ages = await self._ages(max_age=0.0)
        for key in changed:
            view = self._cameras.view(key)
            if view is None:
                await stream.send("gone", {"namespace": key.namespace, "name": key.name})
            else:
                await stream.send("camera", camera_json(view, ages.get(view.stream)))

    async def _visible(self, viewer: Viewer) -> list[dict[str, Any]]:
        ages = await self._ages()
        return [camera_json(v, ages.get(v.stream)) for v in self._cameras.views() if viewer.may_watch(v.key)]

    async def _ages(self, max_age: float = MAX_AGE) -> dict[int | None, float | None]:
        stats = await self._stats.take(max_age)
        if stats is None:
            return {}
        passed = self._stats.age()
        return {s.stream: None if s.last_frame_age is None else s.last_frame_age + passed for s in stats.streams}


def camera_json(view: View, last_frame_age: float | None) -> dict[str, Any]:
    """A camera as browsers see it; holds nothing of its source."""
    video = view.video
    return {
        "namespace": view.key.namespace,
        "name": view.key.name,
        "title": view.title,
        "site": view.site,
        "state": view.state,
        "reason": view.reason,
        "message": view.message,
        "since": rfc3339(view.since),
        "hasSub": view.has_sub,
        "lastFrameAge": None if last_frame_age is None else round(last_frame_age, 3),
        "video": None
        if video is None
        else {
            "codec": video.codec,
            "profile": video.profile_level_id,
            "width": video.width,
            "height": video.height,
            "fps": video.fps,
        },
    }


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _code(request: web.Request) -> str:
    if request.content_type != "application/json":
        raise HttpError(415, "The code must come as application/json.")
    try:
        code = (await request.json())["code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HttpError(400, 'The body must be {"code": "…"}.') from error
    if not isinstance(code, str):
        raise HttpError(400, "The code must be a string.")
    return code
