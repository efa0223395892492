"""draft-ietf-wish-whep-04, 4.7 (load), 4.9 (authentication) and 6 (security considerations)."""

import asyncio
import re
from collections import Counter

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from pancar_relay.viewer.whep import JOINS
from pancar_relay.web import WRONG_TOKENS
from rigs.relay import Cameras, Relay, StartRelay, assignment
from rigs.whep import SDP, join, offer

pytestmark = pytest.mark.asyncio(loop_scope="module")
MISSING = "/whep/kota/absent"


async def statuses(
    http: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], times: int
) -> Counter[int]:
    async def one() -> int:
        async with http.request(method, url, headers=headers) as response:
            if response.status == 429:
                assert re.fullmatch(r"[1-9]\d*", response.headers["Retry-After"])
            return response.status

    return Counter(await asyncio.gather(*(one() for _ in range(times))))


async def test_4_7_a_relay_that_is_full_says_when_to_come_again(
    start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    relay = await start_relay(PANCAR_CAPACITY_VIEWERS="2")
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    for _ in range(2):
        await join(relay, http)
    async with http.post(f"{relay.url}/whep/kota/taman", data=offer(), headers=SDP | relay.bearer()) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "30")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "GET", "OPTIONS"])
async def test_4_9_1_every_request_wants_a_bearer_token(city: Relay, http: aiohttp.ClientSession, method: str) -> None:
    session = await join(city, http, city.bearer())
    for url in (f"{city.url}/whep/kota/taman", session.url):
        async with http.request(method, url) as response:
            assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_6_session_urls_cannot_be_guessed(city: Relay, http: aiohttp.ClientSession) -> None:
    urls = {(await join(city, http)).url for _ in range(8)}
    assert len(urls) == 8
    # 24 bytes of the system's randomness (RFC 4086).
    assert all(len(url.rpartition("/")[2]) == 32 for url in urls)


async def test_6_joins_of_one_right_are_limited_and_hold_no_other_up(relay: Relay, http: aiohttp.ClientSession) -> None:
    burst = int(JOINS[0])
    # Far more at once than are allowed in the time that a slow machine takes for them.
    mine = await statuses(http, "POST", relay.url + MISSING, relay.bearer(sub="satu"), 3 * burst)
    assert mine[404] >= burst
    assert mine[429] > 0
    assert set(mine) == {404, 429}
    others = await statuses(http, "POST", relay.url + MISSING, relay.bearer(sub="dua"), 150)
    assert others == {404: 150}


async def test_6_wrong_tokens_are_limited_and_hold_no_right_one_up(relay: Relay, http: aiohttp.ClientSession) -> None:
    wrong = await statuses(
        http, "POST", relay.url + MISSING, {"Authorization": "Bearer x.y.z"}, 4 * int(WRONG_TOKENS[0])
    )
    assert wrong[401] >= int(WRONG_TOKENS[0])
    assert wrong[429] > 0
    assert set(wrong) == {401, 429}
    right = await statuses(http, "POST", relay.url + MISSING, relay.bearer(sub="tiga"), 20)
    assert right == {404: 20}
