"""H.264 for RTP: NAL units out of Annex B bytes, RFC 6184 payloads (packetization mode 1), and the SDP that names them.

Pure; called by the cameras' encoder and by `connection`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# With RTP and interleaved framing a payload of this size stays below an Ethernet frame.
MAX_PAYLOAD = 1400
CLOCK_RATE = 90_000

_START_CODE = re.compile(rb"\x00\x00\x01")
_IDR, _SPS, _PPS, _AUD, _FU_A = 5, 7, 8, 9, 28


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture, already split into RTP payloads, so that it is split once for all clients.

    `timestamp` counts 90 kHz ticks of the source and does not wrap; `captured` is the same instant as seconds since
    the Unix epoch.
    """

    payloads: tuple[bytes, ...]
    timestamp: int
    captured: float
    key: bool


@dataclass(frozen=True, slots=True)
class Description:
    """What a client must know before it plays."""

    name: str
    sps: bytes
    pps: bytes

    def sdp(self, address: str) -> bytes:
        """Session description (RFC 8866, RFC 6184 section 8.2.1); `address` is the server's own, for the origin."""
        family = "IP6" if ":" in address else "IP4"
        sprop = ",".join(base64.b64encode(nal).decode() for nal in (self.sps, self.pps))
        name = re.sub(r"[\r\n\0]", " ", self.name) or "-"
        lines = [
            "v=0",
            f"o=- 0 0 IN {family} {address}",
            f"s={name}",
            f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",  # noqa: S104 - RFC 2326 C.1.7, no bind
            "t=0 0",
            "a=control:*",
            "a=range:npt=now-",
            "m=video 0 RTP/AVP 96",
            f"a=rtpmap:96 H264/{CLOCK_RATE}",
            f"a=fmtp:96 packetization-mode=1;profile-level-id={self.sps[1:4].hex()};sprop-parameter-sets={sprop}",
            f"a=control:{TRACK}",
            "",
        ]
        return "\r\n".join(lines).encode()


TRACK = "trackID=0"


def nals(annex_b: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream (ITU-T H.264, annex B), without start codes and trailing zeros."""
    starts = [match.end() for match in _START_CODE.finditer(annex_b)]
    ends = [*(start - 3 for start in starts[1:]), len(annex_b)] if starts else []
    for start, end in zip(starts, ends, strict=True):
        nal = annex_b[start:end].rstrip(b"\0")
        if nal:
            yield nal


def parameter_sets(units: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The first SPS and PPS among the NAL units, or None where one of them is missing."""
    sps = next((nal for nal in units if nal[0] & 31 == _SPS and len(nal) >= 4), None)
    pps = next((nal for nal in units if nal[0] & 31 == _PPS), None)
    return None if sps is None or pps is None else (sps, pps)


def access_unit(units: Sequence[bytes], timestamp: int, captured: float) -> AccessUnit:
    """Splits one picture's NAL units into payloads. Delimiters are dropped: RTP's marker stands for them."""
    kept = [nal for nal in units if nal[0] & 31 != _AUD]
    payloads = tuple(payload for nal in kept for payload in packetize(nal))
    return AccessUnit(payloads, timestamp, captured, any(nal[0] & 31 == _IDR for nal in kept))


def packetize(nal: bytes, max_payload: int = MAX_PAYLOAD) -> Iterator[bytes]:
    """One NAL unit as a single payload, or as FU-A fragments (RFC 6184, 5.8) where it is too large for one."""
    if len(nal) <= max_payload:
        yield nal
        return
    indicator, kind = nal[0] & 0xE0 | _FU_A, nal[0] & 0x1F
    body = memoryview(nal)[1:]
    step = max_payload - 2
    for at in range(0, len(body), step):
        flags = (0x80 if at == 0 else 0) | (0x40 if at + step >= len(body) else 0)
        yield bytes((indicator, flags | kind)) + body[at : at + step]
