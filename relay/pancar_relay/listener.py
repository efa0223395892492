"""Where HTTP connections come in, so many at once and no more; opened by `__main__`.

Who connects and says nothing costs memory and a descriptor, and descriptors are what cameras are pulled by. asyncio's
own servers bound neither the connections nor those that have not finished their TLS handshake.
"""

import asyncio
import socket
import ssl

import structlog
from aiohttp import web
from pancar_proto import listening

from pancar_relay.settings import Address

log = structlog.get_logger()

# A wall holds a few at a time, one of them for its events.
CONNECTIONS_LIMIT = 4096
HANDSHAKE_SECONDS = 10.0
# Seconds without accepting where the process has no descriptor left.
ACCEPT_PAUSE = 0.1


class Listener:
    """Accepts connections for `server` until it is closed; those that are open are the server's to close."""

    def __init__(self, address: Address, server: web.Server, context: ssl.SSLContext | None) -> None:
        """Raises OSError where the address cannot be bound."""
        self._server = server
        self._context = context
        self._opening: set[asyncio.Task[None]] = set()
        self._socket = listening.listen(address.host, address.port)
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(), name="http-listener")

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        for task in (self._accepting, *self._opening):
            task.cancel()
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                # A peer that is gone already, or no descriptor for one more.
                log.warning("http.accept_failed", error=str(error))
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            if len(self._server.connections) + len(self._opening) >= CONNECTIONS_LIMIT:
                connection.close()
                continue
            task = asyncio.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        timeout = HANDSHAKE_SECONDS if self._context else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._server, connection, ssl=self._context, ssl_handshake_timeout=timeout
            )
        except OSError:  # ssl.SSLError is one; it is the peer's matter
            connection.close()
