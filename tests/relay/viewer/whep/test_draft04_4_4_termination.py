"""draft-ietf-wish-whep-04, 4.4: playback session termination, OPTIONS and CORS."""

from collections.abc import Mapping

import aiohttp
import pytest
from rigs.relay import Relay, StartRelay
from rigs.waiting import eventually
from rigs.whep import SDP, join

pytestmark = pytest.mark.asyncio(loop_scope="module")
PORTAL = "https://portal.kota.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


async def test_4_4_delete_ends_the_session(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    async with http.delete(session.url, headers=city.bearer()) as response:
        assert response.status == 200
    async with http.delete(session.url, headers=city.bearer()) as response:
        assert response.status == 404
    # Of the relay's other sessions some may end in another way.
    await eventually(lambda: [e for e in city.events("session.ended") if e["reason"] == "Deleted"], "the end is logged")


async def test_4_5_1_delete_ignores_entity_tags(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    async with http.delete(session.url, headers=city.bearer() | {"If-Match": '"another"'}) as response:
        assert response.status == 200


async def test_4_4_a_session_is_ended_by_its_viewer_alone(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    async with http.delete(session.url, headers=city.bearer(sub="orang lain")) as response:
        assert response.status == 404
    async with http.get(session.url, headers=city.bearer()) as response:
        assert response.status == 204


async def test_4_4_options_tell_what_is_accepted(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    async with http.options(f"{city.url}/whep/kota/taman", headers=city.bearer()) as response:
        assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
    async with http.options(session.url, headers=city.bearer()) as response:
        assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
        # RFC 5789, 3.1
        assert response.headers["Accept-Patch"] == "application/sdp, application/trickle-ice-sdpfrag"


def cors(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("access-control-")}


async def test_4_4_no_other_origin_is_let_in_by_default(city: Relay, http: aiohttp.ClientSession) -> None:
    headers = {"Origin": PORTAL} | PREFLIGHT
    async with http.options(f"{city.url}/whep/kota/taman", headers=headers) as response:
        assert (response.status, cors(response.headers)) == (401, {})
    async with http.get(f"{city.url}/whep/kota/taman", headers=city.bearer() | headers) as response:
        assert (response.status, cors(response.headers)) == (204, {})


async def test_4_4_cors_for_the_origins_that_are_named(start_relay: StartRelay, http: aiohttp.ClientSession) -> None:
    relay = await start_relay(PANCAR_CORS_ORIGINS=f"{PORTAL}, http://127.0.0.1:3000")
    url = f"{relay.url}/whep/kota/taman"
    # 4.9.1: a preflight comes without a token.
    async with http.options(url, headers={"Origin": PORTAL} | PREFLIGHT) as response:
        assert response.status == 200
        assert cors(response.headers) == {
            "access-control-allow-origin": PORTAL,
            "access-control-allow-credentials": "true",
            "access-control-allow-methods": "POST, PATCH, DELETE",
            "access-control-allow-headers": "Authorization, Content-Type, If-Match",
            "access-control-max-age": "600",
        }
        assert response.headers["Vary"] == "Origin"
        assert response.headers["Accept-Post"] == "application/sdp"
    # Errors are to be read as well.
    async with http.post(url, headers=SDP | relay.bearer() | {"Origin": PORTAL}) as response:
        assert response.status == 404
        assert response.headers["Access-Control-Allow-Origin"] == PORTAL
        assert response.headers["Access-Control-Expose-Headers"] == "Location, ETag, Link, Retry-After"
    async with http.post(url, headers=SDP | {"Origin": PORTAL}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (401, PORTAL)
    for origin in ("https://kota.example", f"{PORTAL}.example", "null", PORTAL.upper()):
        async with http.options(url, headers={"Origin": origin} | PREFLIGHT) as response:
            assert (response.status, cors(response.headers)) == (401, {})
            assert response.headers["Vary"] == "Origin"
    # Nothing but WHEP is there for them.
    for path in ("/api/v1/cameras", "/"):
        async with http.options(relay.url + path, headers={"Origin": PORTAL} | PREFLIGHT) as response:
            assert (response.status, cors(response.headers)) == (401, {})


async def test_4_4_cors_for_any_origin_is_without_credentials(
    start_relay: StartRelay, http: aiohttp.ClientSession
) -> None:
    relay = await start_relay(PANCAR_CORS_ORIGINS="*")
    async with http.options(f"{relay.url}/whep/kota/taman", headers={"Origin": PORTAL} | PREFLIGHT) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers
