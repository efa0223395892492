"""RTP packets in (RFC 3550, RFC 8285, RFC 4588), RTCP out (RFC 3550, RFC 4585). Pure; called by `receiver`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_HEADER = 12
_ONE_BYTE_PROFILE = 0xBEDE
_SENDER_REPORT, _RECEIVER_REPORT, _TRANSPORT_FEEDBACK, _PAYLOAD_FEEDBACK = 200, 201, 205, 206
_GENERIC_NACK, _PLI = 1, 1


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet; its playout delay, least and most, in seconds."""

    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    playout_delay: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Reception:
    """What a report block tells of one source (RFC 3550, 6.4.1); `loss` is the share since the report before."""

    ssrc: int
    loss: float
    lost: int
    highest: int
    jitter: int
    last_report: int
    since_last_report: float


def parse(data: bytes, playout_delay_id: int | None) -> Packet:
    """Raises ValueError for what is no RTP packet."""
    try:
        first, second, sequence, timestamp, _ = struct.unpack_from("!BBHII", data)
        at = _HEADER + 4 * (first & 0x0F)
        delay = None
        if first & 0x10:
            profile, words = struct.unpack_from("!HH", data, at)
            if profile == _ONE_BYTE_PROFILE and playout_delay_id is not None:
                delay = _playout_delay(data[at + 4 : at + 4 + 4 * words], playout_delay_id)
            at += 4 + 4 * words
        end = len(data) - data[-1] if first & 0x20 else len(data)
    except (struct.error, IndexError) as error:
        raise ValueError("an RTP packet that is cut") from error
    if first >> 6 != 2 or at > end:
        raise ValueError("no RTP packet of version 2")
    return Packet(second & 0x7F, sequence, timestamp, bool(second & 0x80), data[at:end], delay)


def _playout_delay(elements: bytes, wanted: int) -> tuple[float, float] | None:
    """Two numbers of 12 bits, in hundredths of a second."""
    at = 0
    while at < len(elements):
        identifier, length = elements[at] >> 4, (elements[at] & 15) + 1
        if identifier == wanted and length == 3:
            value = int.from_bytes(elements[at + 1 : at + 4], "big")
            return (value >> 12) / 100, (value & 0xFFF) / 100
        at += 1 if identifier == 0 else 1 + length
    return None


def unwrap_rtx(packet: Packet, payload_type: int) -> Packet | None:
    """The packet that was sent again (RFC 4588, 4); None where it is padding alone."""
    if len(packet.payload) <= 2:
        return None
    original = int.from_bytes(packet.payload[:2], "big")
    return replace(packet, payload_type=payload_type, sequence=original, payload=packet.payload[2:])


def sender_reports(compound: bytes) -> Iterator[int]:
    """Of each sender report the middle 32 bits of its time, by which a report block names it."""
    at = 0
    while at + 4 <= len(compound):
        packet_type, words = compound[at + 1], struct.unpack_from("!H", compound, at + 2)[0]
        if packet_type == _SENDER_REPORT and at + 16 <= len(compound):
            yield struct.unpack_from("!I", compound, at + 10)[0]
        at += 4 + 4 * words


def receiver_report(sender: int, reception: Reception | None) -> bytes:
    """With one block or none; the first packet of every compound (RFC 3550, 6.1)."""
    if reception is None:
        return struct.pack("!BBHI", 0x80, _RECEIVER_REPORT, 1, sender)
    lost = max(-0x800000, min(reception.lost, 0x7FFFFF)) & 0xFFFFFF
    block = struct.pack(
        "!IIIIII",
        reception.ssrc,
        min(255, int(reception.loss * 256)) << 24 | lost,
        reception.highest & 0xFFFFFFFF,
        reception.jitter,
        reception.last_report,
        int(reception.since_last_report * 65536) if reception.last_report else 0,
    )
    return struct.pack("!BBHI", 0x81, _RECEIVER_REPORT, 7, sender) + block


def nack(sender: int, media: int, sequences: Sequence[int]) -> bytes:
    """A generic NACK (RFC 4585, 6.2.1) of ascending sequence numbers."""
    fields: list[list[int]] = []
    for sequence in sequences:
        ahead = (sequence - fields[-1][0]) & 0xFFFF if fields else 0
        if 1 <= ahead <= 16:
            fields[-1][1] |= 1 << (ahead - 1)
        else:
            fields.append([sequence & 0xFFFF, 0])
    body = b"".join(struct.pack("!HH", *each) for each in fields)
    return struct.pack("!BBHII", 0x80 | _GENERIC_NACK, _TRANSPORT_FEEDBACK, 2 + len(fields), sender, media) + body


def pli(sender: int, media: int) -> bytes:
    """A picture loss indication (RFC 4585, 6.3.1)."""
    return struct.pack("!BBHII", 0x80 | _PLI, _PAYLOAD_FEEDBACK, 2, sender, media)
