"""WHEP (draft-ietf-wish-whep-04, and what it has from RFC 9725) over aiohttp; a thin shell around `Sessions`.

`web` mounts these routes behind its authentication, which leaves the request's Viewer under `VIEWER`. An endpoint is a
camera, a session's URL is known to its viewer alone.
"""

import time
from email.utils import formatdate
from typing import TypeVar

from aiohttp import web
from multidict import CIMultiDict

from pancar_relay.desired import CameraKey
from pancar_relay.errors import FragmentError, JoinRefusedError, NegotiationError, NoCommonCodecError
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.ingest.pulls import State
from pancar_relay.problems import HttpError, retry_after
from pancar_relay.viewer import sdpfrag
from pancar_relay.viewer.attempts import Attempts
from pancar_relay.viewer.iceservers import IceServers
from pancar_relay.viewer.layers import Layers
from pancar_relay.viewer.negotiate import OFFER_LIMIT
from pancar_relay.viewer.rights import Viewer
from pancar_relay.viewer.sessions import COUNTER_OFFER_SECONDS, CounterOffer, Session, Sessions
from pancar_relay.viewer.whep_layers import chosen_in, links

Held = TypeVar("Held", Session, CounterOffer)
# A right, told from others of the same person by its end, and the address that it is used from.
_Who = tuple[str, float, str | None]

VIEWER = web.RequestKey("viewer", Viewer)
SDP = "application/sdp"
ACCEPT_POST = {"Accept-Post": SDP}
ACCEPT_PATCH = {"Accept-Patch": f"{SDP}, {sdpfrag.MEDIA_TYPE}"}
NOT_LIVE_RETRY_AFTER = 2
# Joins of one right from one address: as many at once as a relay has viewers by default, for the walls of a centre come
# back together, and then so many a second, which leaves most of a relay's time to others.
JOINS = (1000.0, 100.0)
# Likewise of requests to sessions; each join may come with a few.
REQUESTS = (3000.0, 300.0)


class Whep:
    def __init__(self, cameras: Cameras, sessions: Sessions, layers: Layers, ice_servers: IceServers) -> None:
        self._cameras = cameras
        self._layers = layers
        self._sessions = sessions
        self._ice_servers = ice_servers
        self._joins: Attempts[_Who] = Attempts(*JOINS)
        self._requests: Attempts[_Who] = Attempts(*REQUESTS)

    def routes(self) -> list[web.RouteDef]:
        endpoint, resource = r"/whep/{namespace}/{camera}", r"/whep/sessions/{session}"
        # The resource comes first: its path would match the endpoint's too.
        return [
            web.patch(resource, self._patch),
            web.delete(resource, self._delete),
            web.options(resource, self._resource_options),
            web.get(resource, self._get_resource),
            web.post(endpoint, self._post),
            web.options(endpoint, self._endpoint_options),
            web.get(endpoint, self._get_endpoint),
        ]

    async def _post(self, request: web.Request) -> web.Response:
        viewer = request[VIEWER]
        _limit(self._joins, request)
        view = self._watchable(viewer, CameraKey(request.match_info["namespace"], request.match_info["camera"]))
        if request.content_type != SDP:
            raise HttpError(415, f"The offer must come as {SDP}.", headers=ACCEPT_POST)
        encoding = chosen_in(request.query.get("encodingId"))
        offer = await _body(request)
        try:
            session, answer = self._sessions.join(viewer, view, offer)
        except NoCommonCodecError:
            return self._counter_offer(viewer, view)
        except NegotiationError as error:
            raise HttpError(400, _sentence(error)) from error
        except JoinRefusedError as error:
            raise _refused(error) from error
        if encoding is not None:
            self._layers.choose(session.engine_id, session.camera, encoding)
        location = f"/whep/sessions/{session.id}"
        headers = self._linked({"Content-Type": SDP, "Location": location, "ETag": session.etag}, viewer)
        for link in links(location, view):
            headers.add("Link", link)
        return web.Response(status=201, body=answer.encode(), headers=headers)

    def _counter_offer(self, viewer: Viewer, view: View) -> web.Response:
        try:
            counter = self._sessions.make_counter_offer(viewer, view)
        except JoinRefusedError as error:
            raise _refused(error) from error
        # Whole seconds, rounded down: it is good for as long as it says.
        until = formatdate(int(time.time() + COUNTER_OFFER_SECONDS), usegmt=True)
        headers = {"Content-Type": f'{SDP}; valid-until="{until}"', "Location": f"/whep/sessions/{counter.id}"}
        return web.Response(status=406, body=counter.text.encode(), headers=self._linked(headers, viewer))

    async def _patch(self, request: web.Request) -> web.Response:
        _limit(self._requests, request)
        counter = _own(self._sessions.counter_offered(request.match_info["session"]), request)
        if counter is not None:
            return await self._take_answer(request, counter)
        session = self._own_session(request)
        if request.content_type == SDP:
            # Draft, 3: there is no renegotiation.
            raise HttpError(422, "This session is negotiated; only its ICE may be changed.", headers=ACCEPT_PATCH)
        if request.content_type != sdpfrag.MEDIA_TYPE:
            raise HttpError(415, f"A session takes {sdpfrag.MEDIA_TYPE}.", headers=ACCEPT_PATCH)
        text = await _body(request)
        # It may have ended meanwhile. From here on nothing waits, so that overlapping requests find it as it is.
        if self._sessions.get(session.id) is not session:
            raise _gone()
        _match(request, session)
        try:
            asked = sdpfrag.read_fragment(text)
        except FragmentError as error:
            raise HttpError(422, _sentence(error)) from error
        if asked.mid and asked.mid not in {section.mid for section in session.shape.sections}:
            raise HttpError(422, f"The session has no section {asked.mid!r}.")
        # Draft, 4.5.3: credentials that are not those of the ICE session ask for another one.
        if asked.ufrag == session.remote_ufrag:
            # A lite agent sends no checks: it learns of a candidate by the viewer's own (RFC 8445, 2.5).
            return web.Response(status=204)
        return self._restart_ice(session, asked)

    def _restart_ice(self, session: Session, asked: sdpfrag.Fragment) -> web.Response:
        try:
            begun = self._sessions.restart_ice(session, asked)
        except JoinRefusedError as error:
            raise HttpError(429, str(error), headers=retry_after(error.retry_after)) from error
        headers = {"Content-Type": sdpfrag.MEDIA_TYPE, "ETag": session.etag}
        return web.Response(status=200, body=sdpfrag.write_fragment(begun).encode(), headers=headers)

    async def _take_answer(self, request: web.Request, counter: CounterOffer) -> web.Response:
        if request.content_type != SDP:
            raise HttpError(415, f"The answer must come as {SDP}.", headers={"Accept-Patch": SDP})
        text = await _body(request)
        view = self._watchable(request[VIEWER], counter.camera)
        # It may have been answered or have run out meanwhile.
        if self._sessions.counter_offered(counter.id) is not counter:
            raise _gone()
        try:
            session = self._sessions.take_answer(counter, request[VIEWER], view, text)
        except NegotiationError as error:
            raise HttpError(422, _sentence(error)) from error
        except JoinRefusedError as error:
            raise _refused(error) from error
        return web.Response(status=204, headers={"ETag": session.etag})

    async def _delete(self, request: web.Request) -> web.Response:
        _limit(self._requests, request)
        self._sessions.leave(self._own_session(request), "Deleted")
        return web.Response(status=200)

    async def _get_endpoint(self, _request: web.Request) -> web.Response:
        # Draft, 4.1: there is no representation, which is no error.
        return web.Response(status=204)

    async def _get_resource(self, request: web.Request) -> web.Response:
        _limit(self._requests, request)
        self._own_session(request)
        return web.Response(status=204)

    async def _endpoint_options(self, request: web.Request) -> web.Response:
        viewer = request.get(VIEWER)
        # A preflight comes without a right, and is told of no server.
        headers = CIMultiDict(ACCEPT_POST) if viewer is None else self._linked(ACCEPT_POST, viewer)
        return web.Response(status=200, headers=headers)

    async def _resource_options(self, _request: web.Request) -> web.Response:
        return web.Response(status=200, headers={**ACCEPT_POST, **ACCEPT_PATCH})

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

    def _linked(self, headers: dict[str, str], viewer: Viewer) -> CIMultiDict[str]:
        """With a Link for each STUN and TURN server (draft, 4.8)."""
        linked = CIMultiDict(headers)
        for link in self._ice_servers.links(viewer, time.time()):
            linked.add("Link", link)
        return linked

    def limited_session(self, request: web.Request) -> Session:
        """The session that a request is about; raises HttpError where it is not the viewer's, or he asks too often."""
        _limit(self._requests, request)
        return self._own_session(request)

    def _own_session(self, request: web.Request) -> Session:
        session = _own(self._sessions.get(request.match_info["session"]), request)
        if session is None:
            raise _gone()
        return session


def _own(held: Held | None, request: web.Request) -> Held | None:
    # Somebody else's looks like none.
    return held if held is not None and held.viewer.subject == request[VIEWER].subject else None


def _limit(attempts: Attempts[_Who], request: web.Request) -> None:
    viewer, now = request[VIEWER], time.monotonic()
    who = (viewer.subject, viewer.expires, request.remote)
    wait = attempts.retry_after(who, now)
    if wait is not None:
        raise HttpError(429, "Too many requests with this right from this address.", headers=retry_after(wait))
    attempts.spend(who, now)


def _match(request: web.Request, session: Session) -> None:
    """RFC 9110, 13.1.1, by strong comparison, which no weak tag passes."""
    tags = request.headers.get("If-Match")
    if tags is None:
        raise HttpError(428, "Name the ICE session by its entity-tag, in If-Match.")
    # The draft's example of a restart has the asterisk in quotation marks.
    if not {tag.strip() for tag in tags.split(",")} & {"*", '"*"', session.etag}:
        raise HttpError(412, "The ICE session is another one by now.")


def _refused(error: JoinRefusedError) -> HttpError:
    return HttpError(503, str(error), headers=retry_after(error.retry_after))


def _gone() -> HttpError:
    return HttpError(404, "There is no such session (any more).")


async def _body(request: web.Request) -> str:
    body = await request.read()
    if len(body) > OFFER_LIMIT:
        raise HttpError(413, f"The body is larger than {OFFER_LIMIT} bytes.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, "The body is not UTF-8.") from error


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
