"""ICE-TCP for viewers that have none: takes their datagrams and carries them over a framed connection (RFC 4571).

To the viewer it is the relay's UDP candidate; to the relay it is a viewer's active TCP candidate. Its reader can be
held up, as by a viewer whose network or machine takes nothing any more.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Self, cast

import aiohttp
from pancar_cli.bench.viewer import LightViewer

_CANDIDATE = re.compile(r"a=candidate:.*\r\n")
_TCP = re.compile(r"a=candidate:\S+ 1 tcp \d+ (\S+) (\d+) typ host tcptype passive\r\n")


class Bridge(asyncio.DatagramProtocol):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.deliver: Callable[[bytes], None] = self._send
        self._viewer: tuple[str | object, int] | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._carrying = asyncio.create_task(self._carry())

    @classmethod
    async def to(cls, answer: str) -> tuple[Self, str]:
        """A bridge to the answer's TCP candidate, and the answer that leads a viewer to it."""
        found = _TCP.search(answer)
        assert found is not None, answer
        handle = socket.socket(socket.AF_INET6 if ":" in found[1] else socket.AF_INET)
        # So that not much is on its way when the reader is held up.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        handle.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(handle, (found[1], int(found[2])))
        made = cls(*await asyncio.open_connection(sock=handle, limit=16384))
        transport, _ = await loop.create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", 0))
        made._udp = transport
        port = transport.get_extra_info("sockname")[1]
        ours = f"a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\n"
        # In place of the first; the rest goes.
        return made, _CANDIDATE.sub("", _CANDIDATE.sub(ours.replace("a=", "A="), answer, count=1)).replace("A=", "a=")

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._viewer = addr
        self._writer.write(len(data).to_bytes(2, "big") + data)

    async def _carry(self) -> None:
        while True:
            try:
                length = await self._reader.readexactly(2)
                datagram = await self._reader.readexactly(int.from_bytes(length, "big"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            await self._flowing.wait()
            self.deliver(datagram)

    def _send(self, datagram: bytes) -> None:
        if self._udp is not None and self._viewer is not None:
            self._udp.sendto(datagram, cast(tuple[str, int], self._viewer))

    @property
    def ended(self) -> bool:
        """Whether the relay has ended the connection."""
        return self._carrying.done()

    def stall(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._carrying.cancel()
        self._writer.transport.abort()
        if self._udp is not None:
            self._udp.close()


class BridgedViewer(LightViewer):
    """A light viewer over TCP."""

    bridge: Bridge

    async def _post(self, http: aiohttp.ClientSession) -> str:
        self.bridge, answer = await Bridge.to(await super()._post(http))
        # Not by the socket, whose buffer may overflow.
        self.bridge.deliver = partial(self._ice.datagram_received, addr=("127.0.0.1", 0))
        return answer

    async def leave(self, http: aiohttp.ClientSession) -> None:
        await super().leave(http)
        self.bridge.close()
