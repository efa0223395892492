"""Packets in, frames that can be decoded out. Pure; called by `receiver`.

A frame is decoded after the one before it, without a gap in the sequence numbers between them (libwebrtc's
modules/video_coding/rtp_seq_num_only_ref_finder.cc); a whole key frame is, whatever is missing before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pancar_cli.bench.receiver.rtp import Packet

# Of libwebrtc's packet buffer; when it is full it is emptied, and a key frame asked for.
LIMIT = 2048
_NAL_TYPE = 0x1F
_SPS, _STAP_A = 7, 24
# STAP-A (RFC 6184, 5.7.1): its own header, then a size before each unit.
_FIRST_OF_STAP_A = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """The numbers of its first and last packet, and what its last packet says of when to show it."""

    first: int
    last: int
    timestamp: int
    key: bool
    playout_delay: tuple[float, float] | None


class Frames:
    """`insert` each packet by its whole number. `next` is that of the first packet of the frame to be decoded next;
    None until a key frame was."""

    def __init__(self) -> None:
        self.next: int | None = None
        self._packets: dict[int, Packet] = {}
        self._keys: list[int] = []
        # How far the frame that begins at `next` is there.
        self._reach = 0

    def insert(self, number: int, packet: Packet) -> list[Frame]:
        """The frames that this packet completes, in their order."""
        if number in self._packets or (self.next is not None and number < self.next):
            return []
        self._packets[number] = packet
        if starts_key(packet.payload):
            self._keys.append(number)
        decoded = []
        while (frame := self._continued() or self._key()) is not None:
            decoded.append(frame)
            self._go_on_after(frame)
        return decoded

    def overflow(self) -> bool:
        """Whether there were too many packets to keep, which are then gone."""
        if len(self._packets) < LIMIT:
            return False
        self._packets.clear()
        self._keys.clear()
        self._reach = self.next or 0
        return True

    def _continued(self) -> Frame | None:
        if self.next is None:
            return None
        self._reach = self._walk(self._reach)
        return self._frame(self.next, self._reach)

    def _key(self) -> Frame | None:
        for first in self._keys:
            frame = self._frame(first, self._walk(first))
            if frame is not None:
                return frame
        return None

    def _walk(self, number: int) -> int:
        """The last packet that is there of those from `number` on, up to the end of the frame; or one before it."""
        while (packet := self._packets.get(number)) is not None and not packet.marker:
            number += 1
        return number

    def _frame(self, first: int, last: int) -> Frame | None:
        end = self._packets.get(last)
        if end is None:
            return None
        key = first in self._keys
        return Frame(first, last, end.timestamp, key, end.playout_delay)

    def _go_on_after(self, frame: Frame) -> None:
        self.next = self._reach = frame.last + 1
        self._packets = {number: packet for number, packet in self._packets.items() if number > frame.last}
        self._keys = [number for number in self._keys if number > frame.last]


def starts_key(payload: bytes) -> bool:
    """Whether the packet begins a key frame: with a sequence parameter set, alone or first in a STAP-A."""
    kind = payload[0] & _NAL_TYPE if payload else 0
    if kind == _STAP_A and len(payload) > _FIRST_OF_STAP_A:
        kind = payload[_FIRST_OF_STAP_A] & _NAL_TYPE
    return kind == _SPS
