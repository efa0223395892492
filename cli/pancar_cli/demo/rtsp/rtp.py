"""The sender's half of RTP (RFC 3550) for one client: packets and sender reports. Pure; used by `connection`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pancar_cli.demo.rtsp.h264 import CLOCK_RATE, AccessUnit

PAYLOAD_TYPE = 96
# Seconds from 1900, NTP's epoch, to 1970.
_NTP_EPOCH = 2_208_988_800


@dataclass(slots=True)
class Sender:
    """Numbers one client's packets. The three offsets are random (RFC 3550, 5.1), chosen by the caller."""

    ssrc: int
    sequence: int
    offset: int
    packets: int = 0
    octets: int = 0
    _latest: tuple[int, float] | None = None

    def timestamp(self, ticks: int) -> int:
        """The source's time as this client's RTP timestamp."""
        return (ticks + self.offset) & 0xFFFFFFFF

    def packetize(self, unit: AccessUnit) -> Iterator[bytes]:
        """The access unit as RTP packets, the marker on its last."""
        timestamp = self.timestamp(unit.timestamp)
        self._latest = (unit.timestamp, unit.captured)
        last = len(unit.payloads) - 1
        for index, payload in enumerate(unit.payloads):
            kind = PAYLOAD_TYPE | (0x80 if index == last else 0)
            yield struct.pack("!BBHII", 0x80, kind, self.sequence, timestamp, self.ssrc) + payload
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.packets += 1
            self.octets += len(payload)

    def report(self, wall: float, cname: str) -> bytes | None:
        """Sender report and SDES (RFC 3550, 6.4.1) for `wall`, in Unix seconds; None before the first packet."""
        if self._latest is None:
            return None
        timestamp, captured = self._latest
        at = self.timestamp(timestamp + round((wall - captured) * CLOCK_RATE))
        ntp = round((wall + _NTP_EPOCH) * 2**32) & 0xFFFFFFFFFFFFFFFF
        counts = (self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF)
        sender = struct.pack("!BBHIQIII", 0x80, 200, 6, self.ssrc, ntp, at, *counts)
        return sender + _sdes(self.ssrc, cname)

    def bye(self) -> bytes:
        """Tells the client that the stream ends (RFC 3550, 6.6)."""
        return struct.pack("!BBHI", 0x81, 203, 1, self.ssrc)


def _sdes(ssrc: int, cname: str) -> bytes:
    name = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, 1, len(name)) + name + b"\0"
    chunk += b"\0" * (-len(chunk) % 4)
    return struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk
