"""draft-ietf-wish-whep-04, 4.1: HTTP usage."""

import aiohttp
import pytest
from rigs.relay import Relay
from rigs.whep import join

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_4_1_get_succeeds_without_content(city: Relay, http: aiohttp.ClientSession, method: str) -> None:
    headers = city.bearer()
    session = await join(city, http, headers)
    for url in (f"{city.url}/whep/kota/taman", session.url):
        async with http.request(method, url, headers=headers) as response:
            assert (response.status, await response.read()) == (204, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE"])
async def test_4_1_a_session_that_is_not_there(city: Relay, http: aiohttp.ClientSession, method: str) -> None:
    async with http.request(method, f"{city.url}/whep/sessions/none", headers=city.bearer()) as response:
        assert response.status == 404


async def test_4_1_errors_are_problem_documents(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    for method, url in (("PUT", f"{city.url}/whep/kota/taman"), ("PUT", session.url), ("PATCH", session.url)):
        async with http.request(method, url, headers=city.bearer()) as response:
            assert response.status >= 400
            assert response.content_type == "application/problem+json"
            assert (await response.json())["status"] == response.status


async def test_4_1_what_a_method_is_refused_for_names_those_there_are(city: Relay, http: aiohttp.ClientSession) -> None:
    session = await join(city, http, city.bearer())
    async with http.put(f"{city.url}/whep/kota/taman", headers=city.bearer()) as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "OPTIONS", "POST"}
    async with http.put(session.url, headers=city.bearer()) as response:
        assert response.status == 405
        assert {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"} <= set(response.headers["Allow"].split(","))
