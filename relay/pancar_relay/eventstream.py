"""Server-sent events (HTML, 9.2) to one reader; the wall's API and WHEP's events are made of it."""

import asyncio
import json
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from aiohttp import web

# A reader that takes nothing for so long is cut off.
WRITE_TIMEOUT = 10.0

T = TypeVar("T", bound=Hashable)


class EventStream(Generic[T]):
    """It owes its reader the things that changed, not the changes: however slow he is, no more than one entry a thing
    waits for him, and the engine never waits."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._owed: dict[T, None] = {}
        self._wake = asyncio.Event()
        self.closed = False

    @classmethod
    async def open(cls, request: web.Request) -> "EventStream[T]":
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        return cls(request, response)

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    def touch(self, thing: T) -> None:
        self._owed[thing] = None
        self._wake.set()

    def close(self) -> None:
        self.closed = True
        self._wake.set()

    def abort(self) -> None:
        """The reader went, or reads no more: nothing to end politely."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def changed(self, timeout: float) -> list[T]:  # noqa: ASYNC109 - returns, rather than raises, then
        """The things that changed since the last call; waits for the first of them."""
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return []
        self._wake.clear()
        owed, self._owed = list(self._owed), {}
        return owed

    async def send(self, event: str, data: Any) -> None:
        """Raises ConnectionError and TimeoutError where nobody reads."""
        async with asyncio.timeout(WRITE_TIMEOUT):
            await self._response.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
