"""WHEP's extensions for layers and events (draft-murillo-whep-02, 4.7 and 4.8, which draft-ietf-wish-whep leaves to
documents of their own): which of a camera's streams a session is sent, chosen and told.

`web` mounts these routes beside those of `whep`, which names them in the Link headers of an answer.
"""

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from pancar_relay.desired import CameraKey
from pancar_relay.eventstream import EventStream
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.ingest.pulls import State
from pancar_relay.problems import HttpError, retry_after
from pancar_relay.viewer.layers import Encoding, Layers
from pancar_relay.viewer.rights import Rights
from pancar_relay.viewer.sessions import Session, Sessions

LAYER, EVENTS = "urn:ietf:params:whep:ext:core:layer", "urn:ietf:params:whep:ext:core:server-sent-events"
KINDS = ("active", "inactive", "layers")
STREAMS_LIMIT = 512
# Seconds: who is gone is noticed so, and whose right or session has ended.
PING = 15.0
WATCH = 1.0
BUSY_RETRY_AFTER = 30


def links(location: str, view: View) -> list[str]:
    """Link header values for a session of that URL."""
    found = [f'<{location}/events>; rel="{EVENTS}"; events="{",".join(KINDS)}"']
    if view.has_sub:
        found.append(f'<{location}/layer>; rel="{LAYER}"')
    return found


def chosen_in(query: str | None) -> Encoding | None:
    """Raises HttpError for a name that no stream has."""
    if query is None:
        return None
    try:
        return Encoding(query)
    except ValueError:
        names = " and ".join(Encoding)
        raise HttpError(400, f"There is no encoding {query[:32]!r}; there are {names}.") from None


class WhepLayers:
    def __init__(
        self,
        cameras: Cameras,
        sessions: Sessions,
        layers: Layers,
        rights: Rights,
        own_session: Callable[[web.Request], Session],
    ) -> None:
        """`own_session` finds the session of a request, or raises HttpError."""
        self._cameras = cameras
        self._sessions = sessions
        self._layers = layers
        self._rights = rights
        self._own_session = own_session
        self._streams: dict[int, set[EventStream[str]]] = {}
        layers.listen(self._changed)

    def routes(self) -> list[web.RouteDef]:
        session = r"/whep/sessions/{session}"
        return [
            web.post(f"{session}/layer", self._choose),
            web.delete(f"{session}/layer", self._unchoose),
            web.post(f"{session}/events", self._subscribe),
            web.get(f"{session}/events", self._events, allow_head=False),
        ]

    def _changed(self, viewer: int) -> None:
        for stream in self._streams.get(viewer, ()):
            stream.touch("layers")

    async def _choose(self, request: web.Request) -> web.Response:
        session = self._own_session(request)
        body = await _json(request)
        wanted = body.get("encodingId") if isinstance(body, dict) else None
        if not isinstance(wanted, str):
            raise HttpError(400, 'The body must be {"encodingId": "…"}.')
        encoding = chosen_in(wanted)
        media = body.get("mediaId")
        if media is not None and media != session.shape.mid:
            raise HttpError(400, f"The session has no media {str(media)[:32]!r}.")
        self._layers.choose(session.engine_id, session.camera, encoding)
        return web.Response(status=200)

    async def _unchoose(self, request: web.Request) -> web.Response:
        session = self._own_session(request)
        self._layers.choose(session.engine_id, session.camera, None)
        return web.Response(status=200)

    async def _subscribe(self, request: web.Request) -> web.Response:
        session = self._own_session(request)
        wanted = await _json(request)
        if not isinstance(wanted, list) or not all(isinstance(kind, str) for kind in wanted):
            raise HttpError(400, 'The body must be a list of events, as ["layers"].')
        # Those that there are none of are left out.
        kinds = ",".join(kind for kind in KINDS if kind in wanted)
        location = f"/whep/sessions/{session.id}/events?events={kinds}"
        return web.Response(status=201, headers={"Location": location})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        session = self._own_session(request)
        if sum(map(len, self._streams.values())) >= STREAMS_LIMIT:
            detail = "Too many sessions are listened to at this relay."
            raise HttpError(503, detail, headers=retry_after(BUSY_RETRY_AFTER))
        kinds = set(request.query.get("events", ",".join(KINDS)).split(","))
        stream: EventStream[str] = await EventStream.open(request)
        self._streams.setdefault(session.engine_id, set()).add(stream)

        def camera(key: CameraKey) -> None:
            if key == session.camera:
                stream.touch("layers")

        unlisten = self._cameras.listen(camera)
        try:
            await self._serve(stream, session, kinds)
        except (ConnectionError, TimeoutError):
            stream.abort()
        finally:
            unlisten()
            listening = self._streams[session.engine_id]
            listening.discard(stream)
            if not listening:
                del self._streams[session.engine_id]
        return stream.response

    async def _serve(self, stream: EventStream[str], session: Session, kinds: set[str]) -> None:
        told: dict[str, Any] = {}
        next_ping = time.monotonic() + PING
        while self._sessions.get(session.id) is session and self._rights.holds(session.viewer, time.time()):
            for kind, data in self._state(session).items():
                if told.get(kind) != data:
                    told[kind] = data
                    name = kind if kind == "layers" else data
                    if name in kinds:
                        await stream.send(name, data if kind == "layers" else {})
            await stream.changed(WATCH)
            if stream.closed:
                return
            if time.monotonic() >= next_ping:
                await stream.send("ping", {})
                next_ping = time.monotonic() + PING

    def _state(self, session: Session) -> dict[str, Any]:
        view = self._cameras.view(session.camera)
        live = view is not None and view.state is State.LIVE
        found: dict[str, Any] = {"state": "active" if live else "inactive"}
        if view is not None:
            found["layers"] = {session.shape.mid: _layers(view, self._layers.sent(session.engine_id))}
        return found


def _layers(view: View, sent: Encoding) -> dict[str, Any]:
    """As the document has it: what is sent, what is not, and what may be chosen."""
    videos = {Encoding.MAIN: view.video, Encoding.SUB: view.sub.video if view.sub else None}
    there = [Encoding.MAIN, *([Encoding.SUB] if view.has_sub else [])]
    active: list[dict[str, Any]] = []
    inactive: list[dict[str, Any]] = []
    for encoding in there:
        video = videos[encoding]
        size = {} if video is None else {"width": video.width, "height": video.height}
        (active if encoding is sent else inactive).append({"id": encoding, **size})
    return {"active": active, "inactive": inactive, "layers": [{"encodingId": encoding} for encoding in there]}


async def _json(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise HttpError(415, "The body must come as application/json.")
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise HttpError(400, "The body is not JSON.") from error
