"""draft-ietf-wish-whep-04, 4.3.2: the server sends a counter-offer."""

import time
from email.message import Message
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from rigs.relay import Relay
from rigs.whep import SDP, SDPFRAG, VP8, counter_answer, fragment, offer, video

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def countered(relay: Relay, http: aiohttp.ClientSession, headers: dict[str, str]) -> tuple[str, str, str]:
    """URL, content type and text of the counter-offer to an offer of VP8 alone."""
    async with http.post(f"{relay.url}/whep/kota/taman", data=offer(codec=VP8), headers=SDP | headers) as response:
        assert response.status == 406
        assert "ETag" not in response.headers
        return relay.url + response.headers["Location"], response.headers["Content-Type"], await response.text()


async def test_4_3_2_an_offer_without_h264_is_answered_406_with_an_offer(
    city: Relay, http: aiohttp.ClientSession
) -> None:
    _, content_type, text = await countered(city, http, city.bearer())
    assert content_type.startswith("application/sdp; ")
    offered = video(text)
    assert {codec.mimeType for codec in offered.rtp.codecs} == {"video/H264"}
    assert all(codec.parameters["packetization-mode"] == "1" for codec in offered.rtp.codecs)
    assert len({codec.payloadType for codec in offered.rtp.codecs}) == len(offered.rtp.codecs)
    # JSEP's rules for an initial offer (RFC 9429, 5.2.1), and 4.6.1 here.
    assert offered.dtls is not None
    assert offered.dtls.role == "auto"
    assert "a=rtcp-mux\r\na=rtcp-mux-only\r\n" in text
    # 4.3.5
    assert offered.direction == "sendonly"


async def test_4_3_2_valid_until_is_an_http_date(city: Relay, http: aiohttp.ClientSession) -> None:
    _, content_type, _ = await countered(city, http, city.bearer())
    parsed = Message()
    parsed["Content-Type"] = content_type
    until = str(parsed.get_param("valid-until"))
    assert until.endswith(" GMT")
    assert 15 < parsedate_to_datetime(until).timestamp() - time.time() <= 30


async def test_4_3_2_the_answer_is_taken_with_204(city: Relay, http: aiohttp.ClientSession) -> None:
    headers = city.bearer()
    url, _, text = await countered(city, http, headers)
    async with http.patch(url, data=counter_answer(text), headers=SDP | headers) as response:
        assert (response.status, await response.read()) == (204, b"")
        etag = response.headers["ETag"]
    # From here on it is a session like any other.
    async with http.patch(url, data=fragment(), headers=SDPFRAG | headers | {"If-Match": etag}) as response:
        assert response.status == 204
    async with http.patch(url, data=counter_answer(text), headers=SDP | headers) as response:
        assert response.status == 422
    async with http.delete(url, headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        "junk",
        counter_answer(offer(), codec=VP8),
        # The relay is no DTLS client.
        counter_answer(offer(), setup="passive"),
        counter_answer(offer()).replace("a=mid:0", "a=mid:1"),
        counter_answer(offer()) + "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\n",
    ],
)
async def test_4_3_2_a_malformed_answer_is_rejected_and_may_be_mended(
    city: Relay, http: aiohttp.ClientSession, answer: str
) -> None:
    headers = city.bearer()
    url, _, text = await countered(city, http, headers)
    async with http.patch(url, data=answer, headers=SDP | headers) as response:
        assert (response.status, response.content_type) == (422, "application/problem+json")
    async with http.patch(url, data=counter_answer(text), headers=SDPFRAG | headers) as response:
        assert (response.status, response.headers["Accept-Patch"]) == (415, "application/sdp")
    async with http.patch(url, data=counter_answer(text), headers=SDP | headers) as response:
        assert response.status == 204


async def test_4_3_2_a_counter_offer_is_of_him_alone_who_got_it(city: Relay, http: aiohttp.ClientSession) -> None:
    url, _, text = await countered(city, http, city.bearer())
    async with http.patch(url, data=counter_answer(text), headers=SDP | city.bearer(sub="orang lain")) as response:
        assert response.status == 404
