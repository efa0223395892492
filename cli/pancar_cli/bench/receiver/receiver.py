"""The receiver as a whole: RTP and RTCP in, feedback out, and what became of the pictures. Driven by
`pancar_cli.bench.impair`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pancar_cli.bench.receiver import rtp
from pancar_cli.bench.receiver.frames import Frame, Frames
from pancar_cli.bench.receiver.freezes import Freezes
from pancar_cli.bench.receiver.nacks import INTERVAL, Nacks

CLOCK_RATE = 90_000
REPORT_INTERVAL = 1.0
# libwebrtc's video/video_receive_stream2.cc: how long without a frame until a key frame is asked for.
_WAIT_FOR_KEY, _WAIT_FOR_FRAME = 0.2, 3.0
# libwebrtc's modules/video_coding/timing/timing.cc, UseLowLatencyRendering: with no least delay, and a greatest one of
# no more than this, a browser does not smooth: it shows each picture as soon as it can.
_UNSMOOTHED = 0.5


@dataclass(frozen=True, slots=True)
class Formats:
    """What the answer says of the media."""

    ssrc: int
    payload_type: int
    rtx_payload_type: int | None
    playout_delay_id: int | None


@dataclass(slots=True)
class Counts:
    """What came, and what was asked for: sequence numbers in NACKs, and key frames."""

    packets: int = 0
    recovered: int = 0
    asked: int = 0
    keys_asked: int = 0


class Receiver:
    """Give it what comes with `rtp` and `rtcp`, and send what `feedback` returns, at once and whenever `due` has come.

    `now` is in seconds of any one clock. `sender` is the SSRC that its feedback is sent under.
    """

    def __init__(self, formats: Formats, sender: int, now: float) -> None:
        self.formats = formats
        self._sender = sender
        self._nacks = Nacks()
        self._frames = Frames()
        self.freezes = Freezes()
        self.counts = Counts()
        self._reception = _Reception(formats.ssrc)
        self._shown = _Shown()
        self._key_wanted = False
        self._progress_at = now
        self._tick_at = now + INTERVAL
        self._report_at = now + REPORT_INTERVAL

    @property
    def due(self) -> float:
        return min(self._tick_at, self._report_at)

    def count_anew(self) -> None:
        """Forgets what was counted so far, and nothing else."""
        self.counts = Counts()
        self.freezes.count_anew()

    def rtp(self, data: bytes, now: float) -> None:
        """Takes an RTP packet, of the media or sent again. Raises ValueError for what is neither."""
        packet = rtp.parse(data, self.formats.playout_delay_id)
        again = packet.payload_type == self.formats.rtx_payload_type
        media = rtp.unwrap_rtx(packet, self.formats.payload_type) if again else packet
        if media is None:
            return
        if media.payload_type != self.formats.payload_type:
            raise ValueError(f"a packet of payload type {media.payload_type}, which was not negotiated")
        number = self._reception.received(media, again, now)
        self.counts.packets += 1
        self.counts.recovered += number < self._reception.highest
        if not self._nacks.received(number):
            self._key_wanted = True
        for frame in self._frames.insert(number, media):
            self._nacks.forget_before(frame.last + 1)
            self._progress_at = now
            self.freezes.shown(self._shown.at(frame, now))
        if self._frames.overflow():
            self._key_wanted = True

    def rtcp(self, compound: bytes, now: float) -> None:
        """Takes a plain compound packet."""
        for middle in rtp.sender_reports(compound):
            self._reception.reported(middle, now)

    def feedback(self, now: float) -> list[bytes]:
        """Plain compound packets, to be sent now."""
        asked = self._nacks.due(now)
        report: bytes | None = None
        if now >= self._tick_at:
            self._tick_at = now + INTERVAL
            asked = sorted({*asked, *self._nacks.overdue(now)})
            self._look_for_progress(now)
        if now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL
            report = rtp.receiver_report(self._sender, self._reception.report(now))
        parts = []
        if asked:
            self.counts.asked += len(asked)
            parts.append(rtp.nack(self._sender, self.formats.ssrc, asked))
        if self._key_wanted:
            self._key_wanted = False
            self.counts.keys_asked += 1
            parts.append(rtp.pli(self._sender, self.formats.ssrc))
        if report is None and not parts:
            return []
        return [b"".join([report or rtp.receiver_report(self._sender, None), *parts])]

    def _look_for_progress(self, now: float) -> None:
        wait = _WAIT_FOR_KEY if self._frames.next is None else _WAIT_FOR_FRAME
        if now - self._progress_at >= wait:
            self._progress_at = now
            self._key_wanted = True


class _Shown:
    """When a picture is shown that can be decoded now: at once, or, where the sender wants a least delay, that long
    after the earliest moment that one with its timestamp could have come."""

    def __init__(self) -> None:
        self._base: float | None = None
        self._timestamp: int | None = None
        self._ticks = 0
        self._last = 0.0

    def at(self, frame: Frame, now: float) -> float:
        step = 0 if self._timestamp is None else _signed(frame.timestamp - self._timestamp, 32)
        self._timestamp = frame.timestamp
        self._ticks += step
        media_time = self._ticks / CLOCK_RATE
        self._base = now - media_time if self._base is None else min(self._base, now - media_time)
        least, most = frame.playout_delay or (0.0, 0.0)
        smoothed = least > 0 or most > _UNSMOOTHED
        self._last = max(now, self._last, self._base + media_time + least if smoothed else now)
        return self._last


class _Reception:
    """Whole sequence numbers, and what receiver reports say (RFC 3550, A.3 and A.8)."""

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self.highest = -1
        self._first = 0
        self._packets = 0
        self._before = (0, 0)
        self._jitter = 0.0
        self._transit: float | None = None
        self._last_report = (0, 0.0)

    def received(self, packet: rtp.Packet, again: bool, now: float) -> int:
        """The packet's whole number."""
        if self.highest < 0:
            self._first = self.highest = packet.sequence
        number = self.highest + _signed(packet.sequence - self.highest, 16)
        self.highest = max(self.highest, number)
        if not again:
            self._packets += 1
        if not again and number == self.highest:
            transit = now * CLOCK_RATE - packet.timestamp
            if self._transit is not None:
                self._jitter += (abs(_signed(round(transit - self._transit), 32)) - self._jitter) / 16
            self._transit = transit
        return number

    def reported(self, middle: int, now: float) -> None:
        self._last_report = (middle, now)

    def report(self, now: float) -> rtp.Reception | None:
        """None before the first packet."""
        if self.highest < 0:
            return None
        expected, packets = self.highest - self._first + 1, self._packets
        new, came = expected - self._before[0], packets - self._before[1]
        self._before = (expected, packets)
        return rtp.Reception(
            ssrc=self._ssrc,
            loss=max(0.0, (new - came) / new) if new else 0.0,
            lost=expected - packets,
            highest=self.highest,
            jitter=int(self._jitter),
            last_report=self._last_report[0],
            since_last_report=now - self._last_report[1],
        )


def _signed(difference: int, bits: int) -> int:
    """The shortest way around a counter of so many bits."""
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half
