"""The RTSP server's asyncio shell: listens, moves the bytes of each `Connection`, hands out a stream's access units.

Used by the demo's cameras. A stream never waits for a client: one whose socket is full misses pictures up to the next
key frame, and that is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pancar_cli.demo.rtsp.auth import Guard
from pancar_cli.demo.rtsp.connection import Began, Closed, Connection, Ended, Event, Offer, Playing, Tokens
from pancar_cli.demo.rtsp.h264 import AccessUnit, Description

# Unsent bytes of one client beyond which pictures are dropped: half a second of a 4 Mbit/s camera.
MAX_UNSENT = 256 * 1024
MAX_CONNECTIONS = 256


@dataclass
class Stream:
    """One path of the server. `publish` and `description` are for the event loop's thread alone."""

    guard: Guard | None = None
    max_sessions: int | None = None
    description: Description | None = None
    want_key_frame: Callable[[], None] = lambda: None
    dropped: int = 0
    sessions: set[_Client] = field(default_factory=set)
    _now: int = 0

    def offer(self) -> Offer:
        """What a client is told now."""
        vacant = self.max_sessions is None or len(self.sessions) < self.max_sessions
        return Offer(self.description, self.guard, vacant, self._now)

    def publish(self, unit: AccessUnit) -> None:
        """Sends one access unit to all who play."""
        self._now = unit.timestamp
        for client in self.sessions:
            client.publish(unit)


class Server:
    """Serves `streams` (by path, without leading slash) on one TCP port.

    `max_connections` bounds what strangers may hold open; beyond it a connection is closed at once.
    """

    def __init__(self, streams: dict[str, Stream], max_connections: int = MAX_CONNECTIONS) -> None:
        self.streams = streams
        self.max_connections = max_connections
        self.connections: set[_Client] = set()
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Binds and serves; returns the port. Raises OSError where the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Client(self), host, port)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    def vanish(self) -> None:
        """Stops as a camera does that loses its power: no BYE, and the port refuses until `listen`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for client in list(self.connections):
            client.abort()

    async def close(self) -> None:
        """Ends all connections with BYE and stops listening; idempotent."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for client in list(self.connections):
            client.end()
        if listener is not None:
            await listener.wait_closed()


class _Client(asyncio.Protocol):
    """Binds one socket to one Connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stream: Stream | None = None
        self._awaits_key = True
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: create_server gives these
        if len(self._server.connections) >= self._server.max_connections:
            transport.abort()
            return
        self._server.connections.add(self)
        address = str(transport.get_extra_info("sockname")[0])
        # A client that asks without reading its answers is not read either: what it is owed stays bounded.
        transport.set_write_buffer_limits(high=2 * MAX_UNSENT)
        self._transport = transport
        self._connection = Connection(self._find, Tokens.random(), address, time.monotonic())
        self._settle([])

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._settle(self._connection.receive(data, time.monotonic()))

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._server.connections.discard(self)
        self._connection = self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def publish(self, unit: AccessUnit) -> None:
        if self._connection is None or self._transport is None or not self._connection.playing:
            return
        full = self._transport.get_write_buffer_size() > MAX_UNSENT
        if full or (self._awaits_key and not unit.key):
            self._awaits_key = True
            if full and self._stream is not None:
                self._stream.dropped += 1
            return
        self._awaits_key = False
        self._connection.send(unit)
        self._transport.write(self._connection.outgoing())

    def end(self) -> None:
        if self._connection is not None:
            self._settle(self._connection.end_stream())

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _find(self, path: str) -> Offer | None:
        stream = self._server.streams.get(path)
        return None if stream is None else stream.offer()

    def _settle(self, events: list[Event]) -> None:
        """What the driving contract of Connection asks for after each call."""
        if self._connection is None or self._transport is None:
            return
        for event in events:
            self._act(event)
        self._transport.write(self._connection.outgoing())
        if any(isinstance(event, Closed) for event in events):
            self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._connection.deadline
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        if self._connection is not None:
            self._settle(self._connection.tick(time.monotonic(), time.time()))

    def _act(self, event: Event) -> None:
        match event:
            case Began(path):
                self._stream = self._server.streams[path]
                self._stream.sessions.add(self)
            case Playing():
                self._awaits_key = True
                if self._stream is not None:
                    self._stream.want_key_frame()
            case Ended() | Closed():
                self._leave()

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.sessions.discard(self)
            self._stream = None
