"""RTSP messages on the wire: an incremental, bounded reader of what a client sends, and responses as bytes.

Called by `connection`; knows no state of a session. Everything here is fed from the network: the reader raises
`RemoteProtocolError` and nothing else, and never holds more than one message of the sizes below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MAX_HEAD = 8 * 1024
MAX_HEADERS = 64
MAX_BODY = 16 * 1024

REASONS: Mapping[int, str] = MappingProxyType(
    {
        200: "OK",
        400: "Bad Request",
        401: "Unauthorized",
        404: "Not Found",
        405: "Method Not Allowed",
        453: "Not Enough Bandwidth",
        454: "Session Not Found",
        455: "Method Not Valid in This State",
        459: "Aggregate Operation Not Allowed",
        461: "Unsupported Transport",
        503: "Service Unavailable",
        505: "RTSP Version Not Supported",
        551: "Option not supported",
    }
)

_DOLLAR = 0x24
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class RemoteProtocolError(Exception):
    """The client broke the protocol; `status` is what to answer before the connection is closed."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; of a repeated header the values are joined by a comma."""

    method: str
    uri: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def cseq(self) -> str | None:
        """The sequence number to echo, or None where the request has no usable one (RFC 2326, 12.17)."""
        value = self.headers.get("cseq", "")
        return value if value.isascii() and value.isdigit() and len(value) <= 10 else None


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Binary data between requests (RFC 2326, 10.12)."""

    channel: int
    payload: bytes


@dataclass(slots=True)
class _Head:
    method: str
    uri: str
    headers: dict[str, str] = field(default_factory=dict)

    def body_length(self) -> int:
        value = self.headers.get("content-length", "0")
        if not (value.isascii() and value.isdigit() and len(value) <= 6) or int(value) > MAX_BODY:
            raise RemoteProtocolError("Content-Length is no number or too large")
        return int(value)


class Reader:
    """Bytes of one connection in, whole messages out.

    After a `RemoteProtocolError` the reader is of no more use: the position in the stream is lost.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None

    def feed(self, data: bytes) -> Iterable[Request | Interleaved]:
        """Yields the messages that `data` completes; raises RemoteProtocolError when it comes to a fault."""
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Request | Interleaved | None:
        if self._head is None:
            # Clients put blank lines between requests (RFC 2326, 4.1); a bare CR or LF alone is one, too.
            while self._buffer.startswith((b"\r", b"\n")):
                del self._buffer[:1]
            if self._buffer.startswith(b"$"):
                return self._next_interleaved()
            self._head = self._next_head()
        return None if self._head is None else self._next_request(self._head)

    def _next_interleaved(self) -> Interleaved | None:
        if len(self._buffer) < 4:
            return None
        end = 4 + int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < end:
            return None
        frame = Interleaved(self._buffer[1], bytes(self._buffer[4:end]))
        del self._buffer[:end]
        return frame

    def _next_head(self) -> _Head | None:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD:
                raise RemoteProtocolError("request head is too long")
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return _parse_head(head)

    def _next_request(self, head: _Head) -> Request | None:
        length = head.body_length()
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        return Request(head.method, head.uri, MappingProxyType(head.headers), body)


def _parse_head(data: bytes) -> _Head:
    try:
        lines = data.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise RemoteProtocolError("request head is not UTF-8") from None
    if any(not character.isprintable() and character != "\t" for line in lines for character in line):
        raise RemoteProtocolError("control character in the request head")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not _is_token(parts[0]) or not parts[1]:
        raise RemoteProtocolError("malformed request line")
    if parts[2] != "RTSP/1.0":
        raise RemoteProtocolError("not RTSP/1.0", 505)
    if len(lines) - 1 > MAX_HEADERS:
        raise RemoteProtocolError("too many headers")
    head = _Head(parts[0], parts[1])
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _is_token(name):
            raise RemoteProtocolError("malformed header")
        name = name.lower()
        value = value.strip()
        head.headers[name] = f"{head.headers[name]}, {value}" if name in head.headers else value
    return head


def _is_token(text: str) -> bool:
    return bool(text) and _TOKEN.issuperset(text)


def response(status: int, cseq: str | None, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """A whole response. The caller vouches that header values hold no line break."""
    lines = [f"RTSP/1.0 {status} {REASONS[status]}"]
    if cseq is not None:
        lines.append(f"CSeq: {cseq}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def interleaved(channel: int, payload: bytes) -> bytes:
    """`payload` framed for the RTSP connection (RFC 2326, 10.12)."""
    return bytes((_DOLLAR, channel)) + len(payload).to_bytes(2, "big") + payload
