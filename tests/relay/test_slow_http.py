"""Who connects and does not ask, or asks slowly, holds up nobody and is not kept for ever."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from pancar_relay.__main__ import KEEPALIVE
from pancar_relay.listener import CONNECTIONS_LIMIT
from pancar_relay.web import BODY_PATIENCE
from rigs.relay import Relay
from rigs.waiting import eventually
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def connection(relay: Relay) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = URL(relay.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _dripped(writer: asyncio.StreamWriter, what: bytes) -> None:
    while True:
        await asyncio.sleep(0.5)
        writer.write(what)


async def test_requests_that_do_not_come_are_not_waited_for(relay: Relay) -> None:
    async def ask(begins: bytes, drips: bytes) -> None:
        async with connection(relay) as (reader, writer):
            writer.write(begins)
            dripping = asyncio.create_task(_dripped(writer, drips))
            try:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            finally:
                dripping.cancel()

    half = b"GET / HTTP/1.1\r\nHost: x\r\n"
    async with asyncio.timeout(3 * KEEPALIVE):
        await asyncio.gather(ask(b"", b""), ask(half, b""), ask(half, b"a: b\r\n"))


async def test_a_body_that_comes_in_drops_is_refused(relay: Relay) -> None:
    head = (
        f"POST /whep/kota/taman HTTP/1.1\r\nHost: x\r\nAuthorization: {relay.bearer()['Authorization']}\r\n"
        "Content-Type: application/sdp\r\nContent-Length: 1000\r\n\r\n"
    )
    async with connection(relay) as (reader, writer):
        writer.write(head.encode())
        dripping = asyncio.create_task(_dripped(writer, b"v"))
        began = time.monotonic()
        try:
            async with asyncio.timeout(4 * BODY_PATIENCE):
                answer = await reader.read()
        finally:
            dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began >= BODY_PATIENCE * 0.9
    assert "http.failed" not in relay.log.read_text()


async def test_half_a_body_of_one_who_leaves_is_no_failure_of_ours(relay: Relay, http: aiohttp.ClientSession) -> None:
    async with connection(relay) as (_, writer):
        head = f"POST /whep/kota/taman HTTP/1.1\r\nHost: x\r\nAuthorization: {relay.bearer()['Authorization']}\r\n"
        writer.write(f"{head}Content-Length: 1000\r\n\r\nv=0".encode())
        await writer.drain()
        await asyncio.sleep(0.3)
    for _ in range(3):
        async with http.get(f"{relay.url}/healthz") as response:
            assert response.status == 200
    assert "Traceback" not in relay.log.read_text()


async def test_connections_are_bounded_and_room_is_made_again(relay: Relay, http: aiohttp.ClientSession) -> None:
    url = URL(relay.url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def held() -> int:
        return sum(not reader.at_eof() and reader.exception() is None for reader, _ in idle)

    try:
        for _ in range(CONNECTIONS_LIMIT // 64 + 2):
            idle += await asyncio.gather(*(asyncio.open_connection(url.host, url.port) for _ in range(64)))
        # One that is just being opened may count twice.
        await eventually(lambda: CONNECTIONS_LIMIT * 0.75 < held() <= CONNECTIONS_LIMIT, "those beyond are turned away")
    finally:
        for _, each in idle:
            each.close()

    async def answers() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get(f"{relay.url}/healthz") as response:
                return response.status == 200
        return False

    await eventually(answers, "there is room again", seconds=30)
