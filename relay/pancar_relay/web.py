"""The relay's HTTP side: one aiohttp application of the wall, its API, WHEP, health and metrics.

Everything wants a right but what `PUBLIC` lists. Every error is a problem document, every answer carries the security
headers. `__main__` makes and serves it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import structlog
from aiohttp import web

from pancar_relay.cors import Cors
from pancar_relay.errors import TokenError
from pancar_relay.health import Health
from pancar_relay.metrics import CONTENT_TYPE, Metrics
from pancar_relay.problems import HttpError, retry_after
from pancar_relay.viewer.attempts import Attempts
from pancar_relay.viewer.negotiate import OFFER_LIMIT
from pancar_relay.viewer.rights import METRICS, Rights, Viewer
from pancar_relay.viewer.whep import VIEWER
from pancar_relay.wall.api import COOKIE
from pancar_relay.wall.pages import Pages, content_security_policy

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PUBLIC = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/enter"), ("POST", "/api/v1/session")}
# What aiohttp itself refuses, as a sentence.
DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: f"The body is larger than {OFFER_LIMIT} bytes.",
}
# Seconds within which the body of a request must have come: an offer is one packet or a few.
BODY_PATIENCE = 5.0
# Wrong tokens of one address that are told so: so many at once, as when the rights of a centre's walls end together,
# and then so many a second.
WRONG_TOKENS = (200.0, 10.0)
# Seconds a request waits for the operator's first word, which comes within a tenth of one.
RIGHTS_PATIENCE = 2.0
HEADERS = {
    "Content-Security-Policy": content_security_policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Routed(Protocol):
    """A part that has routes to be mounted."""

    def routes(self) -> list[web.RouteDef]: ...


class Web:
    def __init__(self, rights: Rights, health: Health, metrics: Metrics, pages: Pages, cors: Cors) -> None:
        self._rights = rights
        self._cors = cors
        self._wrong_tokens: Attempts[str] = Attempts(*WRONG_TOKENS)
        self._health = health
        self._metrics = metrics
        self._pages = pages

    def application(self, parts: Iterable[Routed]) -> web.Application:
        app = web.Application(middlewares=[self._problems, self._authenticate, _received], client_max_size=OFFER_LIMIT)
        app.add_routes(
            [
                *(route for part in parts for route in part.routes()),
                *self._pages.routes(),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._get_metrics),
            ]
        )
        app.on_response_prepare.append(self._finish)
        return app

    @web.middleware
    async def _problems(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except HttpError as problem:
            return problem.response()
        except web.HTTPException as error:
            if error.status < 400:
                raise
            allow = error.headers.get("Allow")
            detail = DETAILS.get(error.status, f"{error.reason.rstrip('.')}.")
            return HttpError(error.status, detail, headers={"Allow": allow} if allow else None).response()
        except ConnectionError:
            # Nobody is there to read it, and nothing of ours is to be mended.
            return HttpError(400, "The request broke off.").response()
        except Exception:
            # One request's failure must not end the connection without an answer.
            log.exception("http.failed", method=request.method, path=request.path)
            return HttpError(500, "The relay failed at this request; its log says more.").response()

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        method = "GET" if request.method == "HEAD" else request.method
        if (method, request.path) in PUBLIC:
            if method == "POST":
                await self._rights_known()
            return await handler(request)
        if _is_preflight(request) and self._cors.allows(request.headers.get("Origin")):
            # It comes without a token (draft-ietf-wish-whep-04, 4.9.1).
            return await handler(request)
        await self._rights_known()
        try:
            request[VIEWER] = self._viewer(request)
        except TokenError as error:
            if request.method == "GET" and _wants_page(request):
                return self._pages.denied.response(401)
            self._limit_wrong_tokens(request.remote or "")
            challenge = {"WWW-Authenticate": "Bearer"}
            raise HttpError(401, f"A valid token is required: {error}.", headers=challenge) from error
        return await handler(request)

    def _limit_wrong_tokens(self, address: str) -> None:
        now = time.monotonic()
        wait = self._wrong_tokens.retry_after(address, now)
        if wait is not None:
            raise HttpError(429, "Too many requests without a valid token.", headers=retry_after(wait))
        self._wrong_tokens.spend(address, now)

    async def _rights_known(self) -> None:
        """A relay that has just started knows no key yet; a 401 would send viewers away for good."""
        if self._rights.known.is_set():
            return
        try:
            async with asyncio.timeout(RIGHTS_PATIENCE):
                await self._rights.known.wait()
        except TimeoutError:
            detail = "No operator has told this relay yet whom to admit."
            raise HttpError(503, detail, headers={"Retry-After": "1"}) from None

    def _viewer(self, request: web.Request) -> Viewer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            token = request.cookies.get(COOKIE, "")
        elif scheme.lower() != "bearer":
            raise TokenError("the Authorization header is not of the Bearer scheme")
        if not token:
            raise TokenError("none was sent")
        return self._rights.verify(token.strip(), time.time())

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._health.fault())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._health.unready())

    async def _get_metrics(self, request: web.Request) -> web.Response:
        if METRICS not in request[VIEWER].scopes:
            raise HttpError(403, "The token's scope does not cover metrics.")
        return web.Response(body=await self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _finish(self, request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        # Modules are asked for again each time and answered 304: an upgraded relay's wall is never half the old one.
        response.headers.setdefault("Cache-Control", "no-cache" if request.path.startswith("/wall/") else "no-store")
        response.headers["Server"] = "pancar"
        if request.path.startswith("/whep/"):
            origin = request.headers.get("Origin")
            response.headers.update(self._cors.headers(origin, preflight=_is_preflight(request)))


def _wants_page(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(("/api/", "/whep/"))


def _verdict(fault: str | None) -> web.Response:
    if fault is not None:
        raise HttpError(503, f"{fault[:1].upper()}{fault[1:]}.")
    return web.json_response({"status": "ok"})


@web.middleware
async def _received(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Has the whole body first, which handlers then find read; who sends it too slowly holds up himself alone."""
    if request.can_read_body:
        try:
            async with asyncio.timeout(BODY_PATIENCE):
                await request.read()
        except TimeoutError:
            detail = f"The body did not come within {BODY_PATIENCE:g} s."
            raise HttpError(408, detail, headers={"Connection": "close"}) from None
    return await handler(request)


def _is_preflight(request: web.Request) -> bool:
    """Fetch, 3.3.2: only WHEP is there for pages of other origins."""
    return (
        request.method == "OPTIONS"
        and request.path.startswith("/whep/")
        and "Access-Control-Request-Method" in request.headers
    )
