"""WHEP (draft-ietf-wish-whep-04) over aiohttp: POST, DELETE and OPTIONS; a thin shell around `Sessions`.

`web` mounts these routes behind its authentication, which leaves the request's Viewer under `VIEWER`.
"""

from aiohttp import web

from pancar_relay.desired import CameraKey
from pancar_relay.errors import JoinRefusedError, NegotiationError, NoCommonCodecError
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.ingest.pulls import State
from pancar_relay.problems import HttpError, retry_after
from pancar_relay.viewer.negotiate import OFFER_LIMIT
from pancar_relay.viewer.rights import Viewer
from pancar_relay.viewer.sessions import Session, Sessions

VIEWER = web.RequestKey("viewer", Viewer)
SDP = "application/sdp"
NOT_LIVE_RETRY_AFTER = 2


class Whep:
    def __init__(self, cameras: Cameras, sessions: Sessions) -> None:
        self._cameras = cameras
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        endpoint, resource = r"/whep/{namespace}/{camera}", r"/whep/sessions/{session}"
        # The resource comes first: its path would match the endpoint's too.
        return [
            web.delete(resource, self._delete),
            web.options(resource, self._options),
            web.post(endpoint, self._post),
            web.options(endpoint, self._options),
        ]

    async def _post(self, request: web.Request) -> web.Response:
        viewer = request[VIEWER]
        view = self._watchable(viewer, CameraKey(request.match_info["namespace"], request.match_info["camera"]))
        if request.content_type != SDP:
            raise HttpError(415, f"The offer must come as {SDP}.", headers={"Accept-Post": SDP})
        offer = await _body(request)
        try:
            session, answer = self._sessions.join(viewer, view, offer)
        except NoCommonCodecError as error:
            raise HttpError(406, _sentence(error)) from error
        except NegotiationError as error:
            raise HttpError(400, _sentence(error)) from error
        except JoinRefusedError as error:
            raise HttpError(503, str(error), headers=retry_after(error.retry_after)) from error
        return web.Response(
            status=201, text=answer, content_type=SDP, headers={"Location": f"/whep/sessions/{session.id}"}
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self._sessions.leave(self._own_session(request), "Deleted")
        return web.Response(status=200)

    async def _options(self, _request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Accept-Post": SDP})

    def _watchable(self, viewer: Viewer, key: CameraKey) -> View:
        """The camera, if this viewer may see it and there is something to see."""
        # Before the camera is looked up, so that nobody learns what exists outside his right.
        if not viewer.may_watch(key):
            raise HttpError(403, f"Your right does not cover the camera {key}. Ask whoever gave you the link.")
        view = self._cameras.view(key)
        if view is None:
            raise HttpError(404, f"This relay has no camera {key}.")
        if view.state is not State.LIVE:
            detail = view.message or "The camera has not sent its first picture yet."
            headers = retry_after(NOT_LIVE_RETRY_AFTER)
            raise HttpError(409, detail, headers=headers, reason=view.reason, state=view.state)
        return view

    def _own_session(self, request: web.Request) -> Session:
        session = self._sessions.get(request.match_info["session"])
        # Somebody else's session looks like none.
        if session is None or session.viewer.subject != request[VIEWER].subject:
            raise HttpError(404, "There is no such session (any more).")
        return session


async def _body(request: web.Request) -> str:
    body = await request.read()
    if len(body) > OFFER_LIMIT:
        raise HttpError(413, f"The offer is larger than {OFFER_LIMIT} bytes.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, "The offer is not UTF-8.") from error


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
