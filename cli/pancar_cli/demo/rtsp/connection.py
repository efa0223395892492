"""One client of the RTSP server, as a protocol without I/O. Driven by `server`, and by the tests on a fake wire.

Driving contract: `receive` what the socket gave, `send` access units while the client plays, `tick` at `deadline`;
after any of these write `outgoing()` and act on the events that were returned. After `Closed` the connection is over:
write what is left, close the socket, call nothing more. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from pancar_cli.demo.rtsp import messages
from pancar_cli.demo.rtsp.auth import Guard
from pancar_cli.demo.rtsp.h264 import TRACK, AccessUnit, Description
from pancar_cli.demo.rtsp.messages import RemoteProtocolError, Request
from pancar_cli.demo.rtsp.rtp import Sender

SESSION_TIMEOUT = 60.0
REPORT_INTERVAL = 5.0

_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_CHANNELS = re.compile(r"interleaved=(\d{1,3})-(\d{1,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server holds under a path: no description yet means no picture yet; not vacant, no further session.

    `now` is the timestamp of the newest access unit.
    """

    description: Description | None
    guard: Guard | None = None
    vacant: bool = True
    now: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """What must be unpredictable in one connection."""

    session: str
    nonce: str
    ssrc: int
    sequence: int
    offset: int

    @classmethod
    def random(cls) -> Tokens:
        """Fresh ones from the system's source of randomness."""
        bits = secrets.randbits
        return cls(secrets.token_hex(8), secrets.token_hex(16), bits(32), bits(16), bits(32))


@dataclass(frozen=True, slots=True)
class Began:
    """A session was set up on a path; it counts against the stream's sessions."""

    path: str


@dataclass(frozen=True, slots=True)
class Playing:
    """The client wants pictures from now on, a key frame first."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; the connection may set up another."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over, and with it its session. `reason` is for a log."""

    reason: str


Event = Began | Playing | Ended | Closed


@dataclass(slots=True)
class _Session:
    path: str
    channels: tuple[int, int]
    sender: Sender
    playing: bool = False
    next_report: float = 0.0


class _Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, status: int, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


class Connection:
    """See the module for how it is driven. `find` maps a path without its leading slash to what is offered there."""

    def __init__(self, find: Callable[[str], Offer | None], tokens: Tokens, address: str, now: float) -> None:
        self._find = find
        self._tokens = tokens
        self._address = address
        self._reader = messages.Reader()
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._session: _Session | None = None
        self._heard = now
        self._closed = False

    @property
    def playing(self) -> bool:
        """Whether `send` has an effect."""
        return self._session is not None and self._session.playing

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next; None once closed."""
        if self._closed:
            return None
        expiry = self._heard + SESSION_TIMEOUT
        return min(expiry, self._session.next_report) if self._session and self._session.playing else expiry

    def outgoing(self) -> bytes:
        """Takes the bytes to write."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Takes what the client sent."""
        try:
            for message in self._reader.feed(data) if not self._closed else ():
                # RTCP from the client is a sign of life; nothing in it changes what is sent.
                self._heard = now
                if isinstance(message, Request):
                    self._answer(message, now)
        except RemoteProtocolError as error:
            self._out.append(messages.response(error.status, None))
            self._close(str(error))
        return self._take_events()

    def send(self, unit: AccessUnit) -> None:
        """Queues one access unit; without effect while the client does not play."""
        if self._session is None or not self._session.playing:
            return
        channel = self._session.channels[0]
        self._out += [messages.interleaved(channel, packet) for packet in self._session.sender.packetize(unit)]

    def tick(self, now: float, wall: float) -> list[Event]:
        """Does what is due: sender reports (`wall` is Unix time for them) and expiry. Harmless when called early."""
        session = self._session
        if not self._closed and now >= self._heard + SESSION_TIMEOUT:
            self._close("nothing heard for a session's time")
        elif session is not None and session.playing and now >= session.next_report:
            session.next_report = now + REPORT_INTERVAL
            report = session.sender.report(wall, self._address)
            if report is not None:
                self._out.append(messages.interleaved(session.channels[1], report))
        return self._take_events()

    def end_stream(self) -> list[Event]:
        """The source is gone for good: says BYE to a client that plays and closes."""
        if self._session is not None and self._session.playing:
            self._out.append(messages.interleaved(self._session.channels[1], self._session.sender.bye()))
        self._close("the stream ended")
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _close(self, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._session = None
            self._events.append(Closed(reason))

    def _answer(self, request: Request, now: float) -> None:
        if request.cseq is None:
            raise RemoteProtocolError("request without a usable CSeq")
        try:
            headers, body = self._handle(request, now)
            status = 200
        except _Refused as refusal:
            status, headers, body = refusal.status, list(refusal.headers), b""
        self._out.append(messages.response(status, request.cseq, headers, body))

    def _handle(self, request: Request, now: float) -> tuple[list[tuple[str, str]], bytes]:
        if "require" in request.headers:
            raise _Refused(551, ("Unsupported", request.headers["require"]))
        match request.method:
            case "OPTIONS":
                return [("Public", _METHODS)], b""
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._set_up(request), b""
            case "PLAY":
                return self._play(request, now), b""
            case "GET_PARAMETER" | "SET_PARAMETER":
                # Sent to keep the session alive; we have no parameter to give or take.
                return [self._session_header(request)] if "session" in request.headers else [], b""
            case "TEARDOWN":
                header = self._session_header(request)
                self._session = None
                self._events.append(Ended())
                return [header], b""
            case _:
                raise _Refused(405, ("Allow", _METHODS))

    def _admit(self, request: Request) -> tuple[str, Offer]:
        path = _path(request.uri)
        offer = None if path is None else self._find(path)
        if path is None or offer is None:
            raise _Refused(404)
        if offer.guard is not None and not offer.guard.admits(request, self._tokens.nonce):
            raise _Refused(401, ("WWW-Authenticate", offer.guard.challenge(self._tokens.nonce)))
        return path, offer

    def _describe(self, request: Request) -> tuple[list[tuple[str, str]], bytes]:
        _, offer = self._admit(request)
        if offer.description is None:
            raise _Refused(503)
        base = request.uri.rstrip("/") + "/"
        headers = [("Content-Type", "application/sdp"), ("Content-Base", base)]
        return headers, offer.description.sdp(self._address)

    def _set_up(self, request: Request) -> list[tuple[str, str]]:
        path, offer = self._admit(request)
        if self._session is not None:
            # One picture, one session: a client that wants another opens another connection.
            raise _Refused(455 if self._session.playing else 459)
        if "session" in request.headers:
            raise _Refused(454)
        if offer.description is None:
            raise _Refused(503)
        channels = _channels(request.headers.get("transport", ""))
        if channels is None:
            raise _Refused(461)
        if not offer.vacant:
            raise _Refused(453)
        sender = Sender(self._tokens.ssrc, self._tokens.sequence, self._tokens.offset)
        self._session = _Session(path, channels, sender)
        self._events.append(Began(path))
        interleaved = f"{channels[0]}-{channels[1]}"
        transport = f"RTP/AVP/TCP;unicast;interleaved={interleaved};ssrc={self._tokens.ssrc:08X}"
        return [("Transport", transport), ("Session", f"{self._tokens.session};timeout={SESSION_TIMEOUT:.0f}")]

    def _play(self, request: Request, now: float) -> list[tuple[str, str]]:
        header = self._session_header(request)
        path, offer = self._admit(request)
        session = self._session
        if session is None or path != session.path:
            raise _Refused(454)
        if not session.playing:
            session.playing = True
            session.next_report = now + 0.5
            self._events.append(Playing())
        track = request.uri if request.uri.endswith(TRACK) else f"{request.uri.rstrip('/')}/{TRACK}"
        info = f"url={track};seq={session.sender.sequence};rtptime={session.sender.timestamp(offer.now)}"
        return [header, ("Range", "npt=now-"), ("RTP-Info", info)]

    def _session_header(self, request: Request) -> tuple[str, str]:
        given = request.headers.get("session", "").partition(";")[0].strip()
        if self._session is None or given != self._tokens.session:
            raise _Refused(454)
        return "Session", given


def _path(uri: str) -> str | None:
    """The stream's path in a request URI, with the track's control taken off; None where it is no RTSP URL."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme.lower() != "rtsp":
        return None
    return parts.path.strip("/").removesuffix(TRACK).rstrip("/")


def _channels(transport: str) -> tuple[int, int] | None:
    """The channels of the first transport that we can serve: interleaved unicast (RFC 2326, 12.39)."""
    return next(_tcp_channels(transport), None)


def _tcp_channels(transport: str) -> Iterator[tuple[int, int]]:
    for alternative in transport.split(","):
        if not alternative.strip().upper().startswith("RTP/AVP/TCP") or "multicast" in alternative.lower():
            continue
        match = _CHANNELS.search(alternative)
        rtp, rtcp = (int(match[1]), int(match[2])) if match else (0, 1)
        if rtp <= 255 and rtcp <= 255 and rtp != rtcp:
            yield rtp, rtcp
