"""draft-ietf-wish-whep-04, 4.3: playback session set up, save the counter-offer (4.3.2)."""

import re

import aiohttp
import pytest
from aiortc.sdp import SessionDescription
from rigs.relay import Relay
from rigs.whep import SDP, join, offer, video

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_4_3_1_an_offer_is_answered_201_with_location_and_answer(
    city: Relay, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{city.url}/whep/kota/taman", data=offer(), headers=SDP | city.bearer()) as response:
        assert response.status == 201
        assert response.headers["Content-Type"] == "application/sdp"
        assert re.fullmatch(r"/whep/sessions/[A-Za-z0-9_-]{32}", response.headers["Location"])
        answer = video(await response.text())
    assert (answer.kind, answer.rtp.muxId) == ("video", "0")
    assert [codec.payloadType for codec in answer.rtp.codecs] == [96]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/sdpx"])
async def test_4_3_4_another_content_type_is_rejected(
    city: Relay, http: aiohttp.ClientSession, content_type: str
) -> None:
    headers = city.bearer() | {"Content-Type": content_type}
    async with http.post(f"{city.url}/whep/kota/taman", data=offer(), headers=headers) as response:
        assert (response.status, response.headers["Accept-Post"]) == (415, "application/sdp")


@pytest.mark.parametrize("body", [b"", b"v=0", b"\xff\xfe", offer().replace("a=fingerprint", "a=x").encode()])
async def test_4_3_4_malformed_sdp_is_rejected(city: Relay, http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post(f"{city.url}/whep/kota/taman", data=body, headers=SDP | city.bearer()) as response:
        assert (response.status, response.content_type) == (400, "application/problem+json")


@pytest.mark.parametrize("direction", ["recvonly", "sendrecv"])
async def test_4_3_5_the_answer_is_sendonly(city: Relay, http: aiohttp.ClientSession, direction: str) -> None:
    session = await join(city, http, sdp=offer(direction=direction))
    assert video(session.answer).direction == "sendonly"


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_4_3_5_an_offer_that_receives_nothing_is_rejected(
    city: Relay, http: aiohttp.ClientSession, direction: str
) -> None:
    body = offer(direction=direction)
    async with http.post(f"{city.url}/whep/kota/taman", data=body, headers=SDP | city.bearer()) as response:
        assert response.status == 400


async def test_4_3_9_a_camera_that_is_not_live_is_a_conflict_for_now(city: Relay, http: aiohttp.ClientSession) -> None:
    for camera in ("mati", "sunyi"):
        async with http.post(f"{city.url}/whep/kota/{camera}", data=offer(), headers=SDP | city.bearer()) as response:
            assert response.status == 409
            assert re.fullmatch(r"[1-9]\d*", response.headers["Retry-After"])


async def test_4_6_1_everything_is_in_one_bundle_with_rtcp_multiplexed(
    city: Relay, http: aiohttp.ClientSession
) -> None:
    session = await join(city, http)
    parsed = SessionDescription.parse(session.answer)
    assert [(group.semantic, group.items) for group in parsed.group] == [("BUNDLE", ["0"])]
    assert video(session.answer).rtcp_mux
    # RFC 8858, 3: never in an answer.
    assert "rtcp-mux-only" not in session.answer


async def test_4_6_2_there_is_a_single_media_stream(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http)
    assert len(re.findall(r"^a=msid:", session.answer, re.MULTILINE)) == 1


async def test_4_6_3_the_relay_is_ice_lite_at_addresses_that_it_names(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http)
    assert "\r\na=ice-lite\r\n" in session.answer
    assert video(session.answer).ice_candidates
