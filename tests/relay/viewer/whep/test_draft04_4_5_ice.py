"""draft-ietf-wish-whep-04, 4.5: ICE support, by PATCH."""

import asyncio

import aiohttp
import pytest
from pancar_relay.viewer.sdpfrag import read_fragment
from rigs.relay import Relay
from rigs.whep import SDP, SDPFRAG, fragment, join, offer, video

pytestmark = pytest.mark.asyncio(loop_scope="module")
CANDIDATES = (
    "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag frag network-id 1",
    "473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag frag network-id 1",
    "2 1 UDP 1686052607 203.0.113.9 5000 typ srflx raddr 0.0.0.0 rport 0",
    "3 1 udp 1 e3c41f45-5ad8-47b5-a9d0-0e3e3a3f6e2b.local 6000 typ host",
    "4 1 sctp 1 2001:db8::9 6000 typ host",
)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_4_5_1_another_content_type_is_rejected(
    city: Relay, http: aiohttp.ClientSession, content_type: str
) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | {"Content-Type": content_type, "If-Match": session.etag}
    async with http.patch(session.url, data=fragment(), headers=headers) as response:
        assert response.status == 415
        assert response.headers["Accept-Patch"] == "application/sdp, application/trickle-ice-sdpfrag"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "junk",
        fragment().replace("a=ice-pwd", "a=x"),
        fragment().replace("m=video", "a=video"),
        fragment(candidates=("1 1 udp",)),
        fragment(candidates=("1 1 udp 1 192.0.2.1 99999999 typ host",)),
        fragment(ufrag="abc"),
        fragment(mid="9"),
        fragment() + "a=ice-ufrag:other\r\n",
    ],
)
async def test_4_5_1_a_malformed_fragment_is_rejected(city: Relay, http: aiohttp.ClientSession, body: str) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | SDPFRAG | {"If-Match": session.etag}
    async with http.patch(session.url, data=body, headers=headers) as response:
        assert (response.status, response.content_type) == (422, "application/problem+json")


async def test_4_5_1_renegotiation_is_unprocessable(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    async with http.patch(session.url, data=offer(), headers=city.bearer() | SDP) as response:
        assert response.status == 422


async def test_4_5_1_the_entity_tag_is_strong_and_each_ice_sessions_own(
    city: Relay, http: aiohttp.ClientSession
) -> None:
    tags = {(await join(city, http)).etag for _ in range(5)}
    assert len(tags) == 5
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, 428),
        ('"another"', 412),
        ("W/{tag}", 412),
        ("", 412),
        ("{tag}", 204),
        ('"another", {tag}', 204),
        ("*", 204),
    ],
)
async def test_4_5_1_preconditions(city: Relay, http: aiohttp.ClientSession, sent: str | None, status: int) -> None:
    session = await join(city, http, city.bearer())
    condition = {} if sent is None else {"If-Match": sent.format(tag=session.etag)}
    async with http.patch(session.url, data=fragment(), headers=city.bearer() | SDPFRAG | condition) as response:
        assert response.status == status


async def test_4_5_2_candidates_are_taken_with_204_and_no_entity_tag(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | SDPFRAG | {"If-Match": session.etag}
    # Among them transports and names that the relay cannot reach, which it passes over.
    for candidates in ((), CANDIDATES):
        async with http.patch(session.url, data=fragment(candidates=candidates), headers=headers) as response:
            assert (response.status, await response.read()) == (204, b"")
            assert "ETag" not in response.headers


async def test_4_5_2_the_answer_holds_all_candidates_of_the_relay(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http)
    answer = video(session.answer)
    assert answer.ice_candidates
    assert answer.ice_candidates_complete
    assert answer.ice_options == "trickle ice2"


# The draft's example has the asterisk in quotation marks.
@pytest.mark.parametrize("wildcard", ["*", '"*"'])
async def test_4_5_3_a_restart_is_answered_200_with_new_credentials_and_entity_tag(
    city: Relay, http: aiohttp.ClientSession, wildcard: str
) -> None:
    session = await join(city, http, city.bearer())
    before = video(session.answer)
    assert before.ice is not None
    headers = city.bearer() | SDPFRAG | {"If-Match": wildcard}
    body = fragment(ufrag="other", pwd="x" * 24, candidates=CANDIDATES)
    async with http.patch(session.url, data=body, headers=headers) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/trickle-ice-sdpfrag")
        assert response.headers["ETag"] != session.etag
        text = await response.text()
    begun = read_fragment(text)
    assert begun.ufrag != before.ice.usernameFragment
    assert begun.pwd != before.ice.password
    assert (begun.media, begun.mid) == ("video 9 UDP/TLS/RTP/SAVPF 96", "0")
    # The same ice-options and ice-lite as in the answer, and all candidates anew.
    assert begun.lite
    assert begun.complete
    assert f"a=ice-options:{before.ice_options}\r\n" in text
    assert [candidate.split()[4] for candidate in begun.candidates] == [c.ip for c in before.ice_candidates]


async def test_6_restarts_of_one_session_are_a_second_apart(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | SDPFRAG | {"If-Match": "*"}

    async def restart(ufrag: str) -> tuple[int, str | None]:
        async with http.patch(session.url, data=fragment(ufrag=ufrag), headers=headers) as response:
            return response.status, response.headers.get("Retry-After")

    answers = [await restart(f"frag{number}") for number in range(20)]
    assert answers[0] == (200, None)
    assert (429, "1") in answers
    await asyncio.sleep(1.1)
    assert await restart("later") == (200, None)


async def test_4_5_3_the_entity_tag_of_before_is_outdated(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | SDPFRAG
    async with http.patch(session.url, data=fragment(ufrag="other"), headers=headers | {"If-Match": "*"}) as response:
        etag = response.headers["ETag"]
    late = fragment(candidates=CANDIDATES)
    async with http.patch(session.url, data=late, headers=headers | {"If-Match": session.etag}) as response:
        assert response.status == 412
    fresh = fragment(ufrag="other", candidates=CANDIDATES)
    async with http.patch(session.url, data=fresh, headers=headers | {"If-Match": etag}) as response:
        assert response.status == 204


async def test_4_5_3_a_restart_that_cannot_be_satisfied_leaves_the_session_as_it_is(
    city: Relay, http: aiohttp.ClientSession
) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | SDPFRAG
    async with http.patch(session.url, data=fragment(ufrag="no"), headers=headers | {"If-Match": "*"}) as response:
        assert response.status == 422
    async with http.patch(session.url, data=fragment(), headers=headers | {"If-Match": session.etag}) as response:
        assert response.status == 204


async def test_4_5_1_overlapping_restarts_by_one_tag_are_one(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    headers = city.bearer() | SDPFRAG | {"If-Match": session.etag}

    async def restart(ufrag: str) -> int:
        async with http.patch(session.url, data=fragment(ufrag=ufrag), headers=headers) as response:
            return response.status

    statuses = await asyncio.gather(*(restart(f"frag{number}") for number in range(5)))
    assert sorted(statuses) == [200, 412, 412, 412, 412]
