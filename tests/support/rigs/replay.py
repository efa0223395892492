"""A camera that plays a capture of tests/captures over RTSP, as sound or as odd as a test asks for: what GStreamer's
server, which gets all of it right, cannot be made to do. It shares no code with Pancar.

Runs in the test's own event loop.
"""

import asyncio
import hashlib
import random
import re
import secrets
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

CAPTURES = Path(__file__).parents[2] / "captures"
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
CLOCK = 90_000
RECEIVER_REPORT, SOURCE_DESCRIPTION = 201, 202


@dataclass(frozen=True)
class Capture:
    sdp: bytes
    # Seconds after the first, and the packet.
    packets: list[tuple[float, bytes]]

    @classmethod
    def load(cls, name: str) -> Self:
        dump = (CAPTURES / f"{name}.rtpdump").read_bytes()
        at, packets = dump.index(b"\n") + 1 + 16, []
        while at < len(dump):
            length, size, offset = struct.unpack_from("!HHI", dump, at)
            packets.append((offset / 1000, dump[at + 8 : at + 8 + size]))
            at += length
        return cls((CAPTURES / f"{name}.sdp").read_bytes(), packets)

    def play(self, *, once: bool) -> Iterator[tuple[float, bytes]]:
        """Its packets, over and over unless `once`, numbered and timed on."""
        length = round(self.packets[-1][0] + 1 / 15) if self.packets else 1
        span = max((_sequence(packet) - _sequence(self.packets[0][1])) & 0xFFFF for _, packet in self.packets) + 1
        turn = 0
        while True:
            for offset, packet in self.packets:
                number = (_sequence(packet) + turn * span) & 0xFFFF
                timestamp = (int.from_bytes(packet[4:8], "big") + turn * length * CLOCK) & 0xFFFFFFFF
                yield turn * length + offset, packet[:2] + struct.pack("!HI", number, timestamp) + packet[8:]
            turn += 1
            if once:
                return


def _sequence(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def _is_key(packet: bytes) -> bool:
    """Whether it is of an IDR, whole or in fragments (RFC 6184, 5.6 and 5.8)."""
    indicator, header = packet[12] & 0x1F, packet[13] & 0x1F
    return indicator == 5 or (indicator == 28 and header == 5)


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How the camera behaves. `disorder` moves UDP packets by up to so many places, by a seed; `session_seconds` is
    what it tells as its timeout, after which it stops unless what it `lives_by` came; no session has a key frame in its
    first `keyless_seconds`."""

    once: bool = False
    refuses: Literal["", "TCP", "UDP"] = ""
    username: str = ""
    password: str = field(default="", repr=False)
    algorithm: Literal["MD5", "SHA-256"] = "MD5"
    # Requests that a nonce is good for.
    nonce_uses: int = 1000
    session_seconds: int = 60
    lives_by: Literal["", "keepalive", "report"] = ""
    disorder: int = 0
    keyless_seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """A receiver report's block (RFC 3550, 6.4.1)."""

    ssrc: int
    fraction_lost: int
    highest: int


class Replay:
    """One camera. What it saw is counted by name in `requests`; `reports` are the receiver reports that came."""

    def __init__(self, capture: str, manners: Manners | None = None) -> None:
        self.capture = Capture.load(capture)
        self.manners = manners or Manners()
        self.requests: list[str] = []
        self.transports: list[str] = []
        self.reports: list[Report] = []
        self.described: float | None = None
        self.url = ""
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"rtsp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/live"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for session in list(self._sessions):
            session.end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self, writer)
        self._sessions.add(session)
        try:
            while first := await reader.read(1):
                if first == b"$":
                    _, size = struct.unpack("!BH", await reader.readexactly(3))
                    session.rtcp(await reader.readexactly(size))
                elif first not in b"\r\n":
                    await session.answer((first + await reader.readuntil(b"\r\n\r\n")).decode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            session.end()
            self._sessions.discard(session)


class _Rtcp(asyncio.DatagramProtocol):
    def __init__(self, session: "_Session") -> None:
        self._session = session

    def datagram_received(self, data: bytes, _: object) -> None:
        self._session.rtcp(data)


class _Session:
    """One connection, with at most one session in it."""

    def __init__(self, camera: Replay, writer: asyncio.StreamWriter) -> None:
        self._camera = camera
        self._manners = camera.manners
        self._writer = writer
        self._nonce, self._nonce_left = "", 0
        self._ports: tuple[int, int] | None = None
        self._endpoints: list[asyncio.DatagramTransport] = []
        self._player: asyncio.Task[None] | None = None
        self._alive = time.monotonic()

    async def answer(self, request: str) -> None:
        lines = request.split("\r\n")
        method, uri, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self._camera.requests.append(method)
        status, more, body = "200 OK", [f"CSeq: {headers['cseq']}"], b""
        if not self._admits(method, uri, headers.get("authorization", "")):
            status = "401 Unauthorized"
            more.append(
                f'WWW-Authenticate: Digest realm="camera", nonce="{self._nonce}", qop="auth", '
                f"algorithm={self._manners.algorithm}"
            )
        elif method == "DESCRIBE":
            self._camera.described = self._camera.described or time.monotonic()
            body = self._camera.capture.sdp
            more += ["Content-Type: application/sdp", f"Content-Base: {uri}/", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            transport = await self._set_up(headers["transport"])
            status = "200 OK" if transport else "461 Unsupported Transport"
            if transport:
                more += [f"Transport: {transport}", f"Session: 17; timeout={self._manners.session_seconds}"]
        elif method == "PLAY":
            self._alive = time.monotonic()
            self._player = asyncio.create_task(self._play())
        elif method == "TEARDOWN" and self._player is not None:
            self._player.cancel()
        elif method == "OPTIONS":
            more.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        if status == "200 OK" and method in ("OPTIONS", "GET_PARAMETER") and self._manners.lives_by == "keepalive":
            self._alive = time.monotonic()
        self._writer.write("\r\n".join([f"RTSP/1.0 {status}", *more, "", ""]).encode() + body)

    def _admits(self, method: str, uri: str, authorization: str) -> bool:
        """Digest, by RFC 7616."""
        manners = self._manners
        if not manners.username:
            return True
        given = dict(re.findall(r'(\w+)="?((?<==")[^"]*|[^", ]+)', authorization))
        secret = self._digest(f"{manners.username}:camera:{manners.password}")
        rest = [self._nonce, given.get("nc", ""), given.get("cnonce", ""), "auth", self._digest(f"{method}:{uri}")]
        right = (
            given.get("response") == self._digest(":".join([secret, *rest])) and given["username"] == manners.username
        )
        self._nonce_left -= 1
        if right and self._nonce_left >= 0:
            return True
        self._nonce, self._nonce_left = secrets.token_hex(8), manners.nonce_uses
        return False

    def _digest(self, text: str) -> str:
        return HASHES[self._manners.algorithm](text.encode()).hexdigest()

    async def _set_up(self, asked: str) -> str | None:
        kind = "TCP" if "/TCP" in asked else "UDP"
        self._camera.transports.append(kind)
        if self._manners.refuses == kind:
            return None
        if kind == "TCP":
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        ports = re.search(r"client_port=(\d+)-(\d+)", asked)
        assert ports is not None
        self._ports = int(ports[1]), int(ports[2])
        loop = asyncio.get_running_loop()
        while True:
            rtp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
            port = rtp.get_extra_info("sockname")[1]
            try:
                rtcp, _ = await loop.create_datagram_endpoint(lambda: _Rtcp(self), ("127.0.0.1", port + 1))
            except OSError:
                rtp.close()
                continue
            self._endpoints = [rtp, rtcp]
            return f"RTP/AVP;unicast;client_port={ports[1]}-{ports[2]};server_port={port}-{port + 1}"

    async def _play(self) -> None:
        begin = time.monotonic()
        chance = random.Random(1)  # noqa: S311 - by a seed
        waiting: list[tuple[float, bytes]] = []
        for at, packet in self._camera.capture.play(once=self._manners.once):
            await asyncio.sleep(max(0.0, begin + at - time.monotonic()))
            lives = not self._manners.lives_by or time.monotonic() < self._alive + self._manners.session_seconds
            if not lives:
                return
            if time.monotonic() < begin + self._manners.keyless_seconds and _is_key(packet):
                continue
            waiting.append((len(waiting) and chance.uniform(0, self._manners.disorder), packet))
            if len(waiting) > self._manners.disorder:
                for _, moved in sorted(waiting, key=lambda entry: entry[0]):
                    self._send(moved)
                waiting = []

    def _send(self, packet: bytes) -> None:
        if self._ports is not None:
            self._endpoints[0].sendto(packet, ("127.0.0.1", self._ports[0]))
        else:
            self._writer.write(struct.pack("!cBH", b"$", 0, len(packet)) + packet)

    def rtcp(self, compound: bytes) -> None:
        """Takes what the client sent: reports count only in a sound compound packet (RFC 3550, 6.1)."""
        found, at = [], 0
        while at + 8 <= len(compound):
            first, kind, words = struct.unpack_from("!BBH", compound, at)
            found.append((kind, first & 0x1F, compound[at + 8 : at + 4 * (words + 1)]))
            at += 4 * (words + 1)
        if [kind for kind, _, _ in found] != [RECEIVER_REPORT, SOURCE_DESCRIPTION]:
            return
        _, count, blocks = found[0]
        for block in range(count):
            ssrc, fraction, highest = struct.unpack_from("!IB3xI", blocks, 24 * block)
            self._camera.reports.append(Report(ssrc, fraction, highest))
        if self._manners.lives_by == "report":
            self._alive = time.monotonic()

    def end(self) -> None:
        if self._player is not None:
            self._player.cancel()
        for endpoint in self._endpoints:
            endpoint.close()
        self._writer.close()
