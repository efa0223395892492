"""Addresses of load balancers that are known by their names only; `fleet` asks and runs it.

Names are looked up again every REFRESH_SECONDS, because such balancers change their addresses. While a name cannot be
looked up, what was found before counts on.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

REFRESH_SECONDS: Final = 30.0
LOOKUP_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Names:
    """`changed` is called when a name has another set of addresses than before."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._found: dict[str, tuple[str, ...]] = {}
        self._wanted: set[str] = set()
        self._woken = asyncio.Event()

    def want(self, names: set[str]) -> None:
        """Those to be looked up from now on."""
        if names - self._wanted:
            self._woken.set()
        self._wanted = names

    def addresses(self, name: str) -> tuple[str, ...]:
        """IP addresses; none until they are known."""
        return self._found.get(name, ())

    async def run(self) -> None:
        """Never ends."""
        while True:
            self._woken.clear()
            names = sorted(self._wanted)
            found = dict(zip(names, await asyncio.gather(*map(self._look_up, names)), strict=True))
            if found != self._found:
                self._found = found
                self._changed()
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look_up(self, name: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                answers = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError, UnicodeError) as error:
            _log.warning("balancer.not_found", name=name, error=str(error) or "no answer")
            return self.addresses(name)
        return tuple(sorted({str(address[0]) for *_, address in answers}))
