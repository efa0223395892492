"""The relay's HTTP side, asked over real connections: who gets in, what is answered, how errors look."""

import asyncio
import json
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import DEAD, PASSWORD, Cameras, Relay, StartRelay, assignment
from rigs.waiting import eventually
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="module")
SDP = {"Content-Type": "application/sdp"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/wall/wall.js"),
        ("GET", "/api/v1/cameras"),
        ("GET", "/api/v1/session"),
        ("GET", "/api/v1/events"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
        ("POST", "/whep/kota/taman"),
        ("OPTIONS", "/whep/kota/taman"),
        ("DELETE", "/whep/sessions/x"),
        ("POST", "/healthz"),
    ],
)
async def test_entry_is_closed_by_default(city: Relay, http: aiohttp.ClientSession, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}, {"Cookie": "pancar=x"}):
        async with http.request(method, city.url + path, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.content_type == "application/problem+json"
            assert (await response.json())["status"] == 401


async def test_a_browser_without_a_right_is_told_how_to_get_one(city: Relay, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{city.url}/", headers={"Accept": "text/html,*/*"}) as response:
        assert (response.status, response.content_type) == (401, "text/html")
        assert "link" in await response.text()


async def test_health_and_entry_are_open(city: Relay, http: aiohttp.ClientSession) -> None:
    for path in ("/healthz", "/readyz", "/enter"):
        async with http.get(city.url + path) as response:
            assert response.status == 200


async def test_a_link_is_exchanged_once_for_a_cookie(city: Relay, http: aiohttp.ClientSession) -> None:
    link = city.operator.minter.link("kode", sub="petugas", cameras=["kota/*"])
    await city.operator.admit(link)
    async with http.post(f"{city.url}/api/v1/session", json={"code": "kode"}) as response:
        assert response.status == 204
        cookie = response.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert re.search(r"Max-Age=3[56]\d\d;", cookie)
        assert "Secure" not in cookie
    async with http.get(f"{city.url}/api/v1/session") as response:
        session = await response.json()
        assert (session["subject"], session["cameras"]) == ("petugas", ["kota/*"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", session["expires"])
    async with http.get(f"{city.url}/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
    async with http.post(f"{city.url}/api/v1/session", json={"code": "kode"}) as response:
        assert response.status == 403
    used = await city.operator.report(lambda r: r.HasField("link_used"))
    assert used.link_used.code_sha256 == link.code_sha256
    for secret in ("kode", link.token):
        assert secret not in city.log.read_text()


async def test_guessing_is_held_up(relay: Relay, http: aiohttp.ClientSession) -> None:
    statuses = []
    for guess in range(15):
        async with http.post(f"{relay.url}/api/v1/session", json={"code": str(guess)}) as response:
            statuses.append((response.status, "Retry-After" in response.headers))
    assert statuses[0] == (403, False)
    assert statuses[-1] == (403, True)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"code": 7}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 20000, "application/json", 400),
        (b"x" * 40000, "application/json", 413),
        (b'{"code": "x"}', "text/plain", 415),
    ],
)
async def test_what_is_no_code_is_refused(
    city: Relay, http: aiohttp.ClientSession, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    async with http.post(f"{city.url}/api/v1/session", data=body, headers=headers) as response:
        assert (response.status, response.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("path", "claims", "headers", "body", "status"),
    [
        ("/whep/kota/taman", {"cameras": ["polisi/*"]}, SDP, b"", 403),
        ("/whep/kota/absent", {"cameras": ["kota/taman"]}, SDP, b"", 403),
        ("/whep/kota/taman", {"scope": "metrics"}, SDP, b"", 403),
        ("/whep/kota/absent", {}, SDP, b"", 404),
        ("/whep/kota/mati", {}, SDP, b"", 409),
        ("/whep/kota/taman", {}, {"Content-Type": "application/json"}, b"{}", 415),
        ("/whep/kota/taman", {}, SDP, b"junk", 400),
        ("/whep/kota/taman", {}, SDP, b"\xff\xfe", 400),
        ("/whep/kota/taman", {}, SDP, b"v=0\r\n" * 10000, 413),
        ("/whep/kota/taman/extra", {}, SDP, b"", 404),
    ],
)
async def test_joins_that_are_refused(
    city: Relay,
    http: aiohttp.ClientSession,
    path: str,
    claims: dict[str, Any],
    headers: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    async with http.post(city.url + path, data=body, headers=headers | city.bearer(**claims)) as response:
        assert (response.status, response.content_type) == (status, "application/problem+json")
        problem = await response.json()
        assert (problem["type"], problem["status"]) == ("about:blank", status)
        assert problem["title"]
        assert problem["detail"].endswith(".")
        assert ("Retry-After" in response.headers) == (status == 409)
        assert problem.get("reason") == ("Refused" if status == 409 else None)


@pytest.mark.parametrize("path", ["/", "/enter", "/wall/wall.js", "/api/v1/cameras", "/healthz", "/nowhere"])
async def test_every_answer_carries_the_security_headers(city: Relay, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(city.url + path, headers=city.bearer()) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == ("no-cache" if path.startswith("/wall/") else "no-store")
        assert response.headers["Server"] == "pancar"


@pytest.mark.parametrize("path", ["/wall/../../__main__.py", "/wall/%2e%2e/api.py", "/wall/..%2fapi.py", "/wall/"])
async def test_nothing_but_the_walls_files_is_served(city: Relay, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(URL(city.url + path, encoded=True), headers=city.bearer()) as response:
        assert response.status in (403, 404)


async def test_cameras_are_listed_as_far_as_the_right_goes(city: Relay, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{city.url}/api/v1/cameras", headers=city.bearer()) as response:
        text = await response.text()
    mati, sunyi, taman = json.loads(text)["cameras"]
    assert (mati["name"], mati["title"], mati["state"], mati["reason"]) == ("mati", "mati", "Offline", "Refused")
    assert "mends this" in mati["message"]
    assert (sunyi["state"], sunyi["reason"], sunyi["message"]) == ("Paused", None, "Pemakaman")
    assert (taman["state"], taman["title"], taman["site"], taman["reason"]) == ("Live", "Taman Kota", "Pusat", None)
    assert taman["video"]["codec"] == "H264"
    assert (taman["video"]["width"], taman["video"]["height"]) == (320, 180)
    assert 0 <= taman["lastFrameAge"] < 3
    assert (mati["lastFrameAge"], mati["video"]) == (None, None)
    for hidden in ("rtsp", PASSWORD, "admin"):
        assert hidden not in text
    only = city.bearer(cameras=["kota/t*"])
    async with http.get(f"{city.url}/api/v1/cameras", headers=only) as response:
        assert [c["name"] for c in (await response.json())["cameras"]] == ["taman"]


async def server_sent(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    event = ""
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)


async def test_events_tell_what_happens_to_the_cameras(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    await relay.operator.desire(assignment("mati", DEAD), assignment("rahasia", DEAD))
    await relay.operator.camera("mati", pb.CAMERA_STATE_OFFLINE)
    headers = relay.bearer(cameras=["kota/mati", "kota/taman"])
    async with http.get(f"{relay.url}/api/v1/events", headers=headers) as response, asyncio.timeout(30):
        assert response.content_type == "text/event-stream"
        events = server_sent(response)
        first, data = await anext(events)
        assert (first, [c["name"] for c in data["cameras"]]) == ("snapshot", ["mati"])
        await relay.operator.desire(assignment("taman", camera.urls[0]))
        seen: list[tuple[str, str, str | None]] = []
        async for event, data in events:
            if event != "ping":
                seen.append((event, data["name"], data.get("state")))
            if seen and seen[-1] == ("camera", "taman", "Live"):
                assert data["lastFrameAge"] < 1.0
                break
    assert ("gone", "mati", None) in seen
    assert "rahasia" not in {name for _, name, _ in seen}


async def test_events_ping_every_two_seconds_and_end_with_the_right(city: Relay, http: aiohttp.ClientSession) -> None:
    ends = time.time() + 7.0
    async with http.get(f"{city.url}/api/v1/events", headers=city.bearer(exp=ends)) as response:
        async with asyncio.timeout(15):
            seen = [event async for event, _ in server_sent(response)]
    assert (seen[0], seen[-1]) == ("snapshot", "expired")
    assert seen[1:-1] in (["ping"] * 2, ["ping"] * 3)
    assert ends <= time.time() < ends + 4.0


async def test_a_reader_that_does_not_read_holds_nobody_up(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{relay.url}/api/v1/events", headers=relay.bearer()):
        for number in range(300):
            await relay.operator.desire(assignment("taman", camera.urls[0], title=f"{number} " + "x" * 5000))
        async with http.get(f"{relay.url}/api/v1/cameras", headers=relay.bearer()) as response:
            assert (await response.json())["cameras"][0]["title"].startswith("299 ")


async def test_metrics_want_their_scope_and_hold_no_secret(city: Relay, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{city.url}/metrics", headers=city.bearer()) as response:
        assert response.status == 403
    async with http.get(f"{city.url}/metrics", headers=city.bearer(scope="metrics")) as response:
        assert response.status == 200
        text = await response.text()
    assert 'pancar_camera_up{camera="taman",namespace="kota"} 1.0' in text
    assert 'pancar_camera_up{camera="mati",namespace="kota"} 0.0' in text
    assert 'pancar_camera_faults_total{camera="mati",namespace="kota",reason="Refused"}' in text
    assert re.search(r'pancar_camera_frames_total\{camera="taman",namespace="kota"\} [1-9]', text)
    assert "pancar_control_attached 1.0" in text
    for hidden in ("rtsp", PASSWORD, "admin"):
        assert hidden not in text


async def test_https_beyond_loopback(start_relay: StartRelay, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command = [*request, "-subj", "/CN=relay", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    relay = await start_relay(
        PANCAR_HTTP_LISTEN="0.0.0.0:0",
        PANCAR_TLS_CERTIFICATE=str(certificate),
        PANCAR_TLS_KEY=str(key),
    )
    assert relay.url.startswith("https://")
    link = relay.operator.minter.link("kode")
    await relay.operator.desire(access=relay.operator.minter.access(link))
    url = f"https://127.0.0.1:{relay.url.rpartition(':')[2]}/api/v1/session"
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    async with http.post(url, json={"code": "kode"}, ssl=trusting) as response:
        assert response.status == 204
        assert "Secure" in response.headers["Set-Cookie"].split("; ")


async def test_a_busy_relay_asks_to_come_again(relay: Relay, camera: Cameras, http: aiohttp.ClientSession) -> None:
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    offer = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
        "a=ice-ufrag:frag\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"
        f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n"
        "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n"
    )
    headers = SDP | relay.bearer()

    async def post() -> tuple[int, str | None]:
        async with http.post(f"{relay.url}/whep/kota/taman", data=offer, headers=headers) as response:
            return response.status, response.headers.get("Retry-After")

    began = time.monotonic()
    answers = await asyncio.gather(*(post() for _ in range(100)))
    assert (201, None) in answers
    assert set(answers) <= {(201, None), (503, "1")}
    # Joins of the last second count: where these took longer, there were never too many.
    if time.monotonic() - began < 1.0:
        assert (503, "1") in answers
    # Those whose UDP never comes stop counting after a second, and nobody else is kept out.
    await asyncio.sleep(1.2)
    assert await post() == (201, None)

    def reasons() -> set[str]:
        return {event["reason"] for event in relay.events() if event["event"] == "session.ended"}

    assert await eventually(reasons, "joins are given up", seconds=20.0) == {"HandshakeTimeout"}
