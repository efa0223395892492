"""draft-ietf-wish-whep-04, 4.8 and RFC 9725, 4.6: STUN and TURN servers, in Link."""

import base64
import hashlib
import hmac
import re
import time
from pathlib import Path

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import Cameras, Relay, StartRelay, assignment
from rigs.whep import SDP, VP8, offer

pytestmark = pytest.mark.asyncio(loop_scope="module")
URLS = ("stun:stun.example.org", "turn:turn.example.org:3478?transport=udp", "turns:turn.example.org")
SECRET = "a secret that the TURN server knows"
LINK = re.compile(
    r'<(?P<url>[^>]+)>; rel="ice-server"'
    r'(; username="(?P<username>[^"]+)"; credential="(?P<credential>[^"]+)"; credential-type="password")?'
)


def servers(response: aiohttp.ClientResponse) -> dict[str, tuple[str | None, str | None]]:
    """URL, username and credential of each."""
    found = [LINK.fullmatch(value) for value in response.headers.getall("Link", [])]
    return {match["url"]: (match["username"], match["credential"]) for match in found if match is not None}


async def watched(start_relay: StartRelay, camera: Cameras, secret: Path) -> Relay:
    secret.write_text(f"{SECRET}\n")
    relay = await start_relay(PANCAR_TURN_URLS=",".join(URLS), PANCAR_TURN_SECRET=str(secret))
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    return relay


async def test_4_8_each_server_comes_in_a_link_with_credentials_of_its_own_session(
    start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    relay = await watched(start_relay, camera, tmp_path / "secret")
    right = time.time() + 3600
    headers = SDP | relay.bearer(sub="petugas", exp=right)
    for body, status in ((offer(), 201), (offer(codec=VP8), 406)):
        async with http.post(f"{relay.url}/whep/kota/taman", data=body, headers=headers) as response:
            assert response.status == status
            found = servers(response)
    assert tuple(found) == URLS
    assert found[URLS[0]] == (None, None)
    assert found[URLS[1]] == found[URLS[2]]
    username, credential = found[URLS[1]]
    assert username is not None
    assert credential is not None
    # draft-uberti-behave-turn-rest-00, 2.2, as the TURN server works it out.
    mac = hmac.new(SECRET.encode(), username.encode(), hashlib.sha1)
    assert base64.b64decode(credential) == mac.digest()
    # No longer than the right, and without the person's name.
    assert int(username.split(":")[0]) == int(right)
    assert "petugas" not in username
    assert SECRET not in relay.log.read_text()
    assert credential not in relay.log.read_text()


async def test_4_8_nobodys_credentials_outlive_a_day(
    start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    relay = await watched(start_relay, camera, tmp_path / "secret")
    headers = SDP | relay.bearer(exp=time.time() + 7 * 24 * 3600)
    async with http.post(f"{relay.url}/whep/kota/taman", data=offer(), headers=headers) as response:
        username, _ = servers(response)[URLS[1]]
    assert username is not None
    assert abs(int(username.split(":")[0]) - time.time() - 24 * 3600) < 60


async def test_rfc9725_4_6_options_tell_them_to_who_has_a_right_alone(
    start_relay: StartRelay, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    relay = await start_relay(
        PANCAR_TURN_URLS=",".join(URLS), PANCAR_TURN_SECRET=str(tmp_path / "secret"), PANCAR_CORS_ORIGINS="*"
    )
    url = f"{relay.url}/whep/kota/taman"
    async with http.options(url, headers=relay.bearer()) as response:
        assert tuple(servers(response)) == URLS
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for headers in (preflight, preflight | relay.bearer()):
        async with http.options(url, headers=headers) as response:
            assert (response.status, servers(response)) == (200, {})


async def test_4_8_no_server_is_told_of_by_default(city: Relay, http: aiohttp.ClientSession) -> None:
    async with http.post(f"{city.url}/whep/kota/taman", data=offer(), headers=SDP | city.bearer()) as response:
        assert response.status == 201
        assert servers(response) == {}
        assert not [link for link in response.headers.getall("Link") if "ice-server" in link]
