"""The receiver and a sender that answers NACK, with a bad path between them; time is virtual."""

import itertools
from dataclasses import dataclass, field

import pytest
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPacket, RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket
from pancar_cli.bench.receiver.receiver import Formats, Receiver
from pancar_cli.bench.wire.impairment import Direction, Impairment

SSRC, RTX_SSRC = 0x1234, 0x5678
MEDIA, RTX, DELAY = 96, 97, 3
FPS, PACKETS = 25, 8
KEY, DELTA = bytes([24, 0, 2, 0x67, 0]), bytes([0x61, 0])
FAR = Impairment(delay=0.03)


@dataclass
class Sender:
    """25 frames a second of eight packets. What is asked for it sends again, in RTX if `rtx`."""

    rtx: bool
    playout_delay: tuple[int, int]
    gop: int
    sent: dict[int, bytes] = field(default_factory=dict)
    again: int = 0
    keys_asked: int = 0
    reports: list[RtcpRrPacket] = field(default_factory=list)
    frame: int = 0

    def packets(self) -> list[bytes]:
        least, most = (hundredths for hundredths in self.playout_delay)
        extension = bytes.fromhex("bede0001") + bytes([DELAY << 4 | 2]) + (least << 12 | most).to_bytes(3, "big")
        made = []
        for place in range(PACKETS):
            # Begins shortly before the counter wraps.
            number = 65_400 + self.frame * PACKETS + place
            key = place == 0 and (self.frame % self.gop == 0)
            header = bytes([0x90, MEDIA | (0x80 if place == PACKETS - 1 else 0)])
            header += (number & 0xFFFF).to_bytes(2, "big") + (self.frame * 3600).to_bytes(4, "big")
            data = header + SSRC.to_bytes(4, "big") + extension + (KEY if key else DELTA)
            self.sent[number & 0xFFFF] = data
            made.append(data)
        self.frame += 1
        return made

    def hear(self, compound: bytes) -> list[bytes]:
        answers = []
        for packet in RtcpPacket.parse(compound):
            match packet:
                case RtcpRtpfbPacket(fmt=fmt) if fmt == RTCP_RTPFB_NACK:
                    answers += [self.resend(number) for number in packet.lost]
                case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_PLI:
                    self.keys_asked += 1
                case RtcpRrPacket():
                    self.reports.append(packet)
        return answers

    def resend(self, number: int) -> bytes:
        data = self.sent[number & 0xFFFF]
        if not self.rtx:
            return data
        self.again += 1
        header = bytes([0x90, RTX | data[1] & 0x80]) + (self.again & 0xFFFF).to_bytes(2, "big") + data[4:8]
        return header + RTX_SSRC.to_bytes(4, "big") + data[12:20] + (number & 0xFFFF).to_bytes(2, "big") + data[20:]


@dataclass
class World:
    """Both ends and the two directions between them."""

    sender: Sender
    receiver: Receiver
    to_viewer: Direction
    to_sender: Direction
    now: float = 0.0

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            next_frame = self.sender.frame / FPS
            dues = (next_frame, self.to_viewer.due, self.to_sender.due, self.receiver.due)
            self.now = max(self.now, min(due for due in dues if due is not None))
            if self.now >= end:
                self.now = end
                return
            if self.now >= next_frame:
                for packet in self.sender.packets():
                    self.to_viewer.take(packet, self.now)
            for packet in self.to_viewer.release(self.now):
                self.receiver.rtp(packet, self.now)
            for compound in self.receiver.feedback(self.now):
                self.to_sender.take(compound, self.now)
            for compound in self.to_sender.release(self.now):
                for packet in self.sender.hear(compound):
                    self.to_viewer.take(packet, self.now)

    def degrade(self, impairment: Impairment) -> None:
        self.to_viewer.impairment = self.to_sender.impairment = impairment


def world(*, rtx: bool = True, playout_delay: tuple[int, int] = (0, 40), gop: int = 50) -> World:
    formats = Formats(SSRC, MEDIA, RTX if rtx else None, DELAY)
    ends = Sender(rtx, playout_delay, gop), Receiver(formats, sender=7, now=0.0)
    made = World(*ends, Direction(1, FAR), Direction(2, FAR))
    made.run(3)
    made.receiver.count_anew()
    return made


@pytest.mark.parametrize("rtx", [True, False])
def test_on_a_good_path_nothing_is_asked_for(rtx: bool) -> None:
    run = world(rtx=rtx)
    run.run(60)
    assert run.receiver.freezes.pictures == 60 * FPS
    assert (run.receiver.freezes.seconds, run.receiver.counts.asked, run.sender.keys_asked) == (0, 0, 0)
    assert run.sender.reports[-1].reports[0].packets_lost == 0


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize("burst", [1, 20])
def test_what_is_lost_comes_again_and_every_picture_is_shown(rtx: bool, burst: int) -> None:
    # Without another key frame, to which it would go on where that is whole first.
    run = world(rtx=rtx, gop=10_000)
    run.degrade(Impairment(delay=FAR.delay, loss=0.05, burst=burst))
    run.run(60)
    run.degrade(FAR)
    run.run(2)
    assert run.to_viewer.counts.lost > 300
    assert run.receiver.freezes.pictures == 62 * FPS
    assert run.receiver.counts.recovered >= run.to_viewer.counts.lost * 0.8


def test_a_least_delay_hides_what_a_browser_does_not_smooth_without_one() -> None:
    frozen = {}
    for least in (0, 30):
        run = world(playout_delay=(least, 40))
        run.degrade(Impairment(delay=FAR.delay, loss=0.02))
        run.run(60)
        frozen[least] = run.receiver.freezes.seconds
    # A packet that is lost twice comes after 30 + 100 + 60 ms at best, which alone is a freeze.
    assert frozen[0] > 0.5
    assert frozen[30] == 0


def test_a_picture_that_stands_still_is_frozen_and_a_key_frame_asked_for() -> None:
    run = world()
    run.degrade(Impairment(delay=FAR.delay, loss=1.0))
    run.run(10)
    run.receiver.freezes.ended(run.now)
    assert run.receiver.freezes.seconds == pytest.approx(10, abs=0.1)
    # All that it sends is lost too; of what it asks for, every three seconds.
    assert run.receiver.counts.keys_asked == 3


def test_reports_tell_of_loss_and_of_the_senders_reports() -> None:
    run = world(rtx=True)
    run.degrade(Impairment(delay=FAR.delay, loss=0.1))
    run.receiver.rtcp(bytes.fromhex("80c80006000012340001aaaabbbb00000000000000000000" + "00000000"), run.now)
    run.run(20)
    blocks = [report.reports[0] for report in run.sender.reports if report.reports][-15:]
    assert sum(block.fraction_lost for block in blocks) / len(blocks) / 256 == pytest.approx(0.1, abs=0.04)
    assert all(block.lsr == 0xAAAABBBB for block in blocks)
    assert all(earlier.dlsr < later.dlsr for earlier, later in itertools.pairwise(blocks))
    assert blocks[-1].highest_sequence > 65_535


def test_what_was_not_negotiated_is_refused() -> None:
    with pytest.raises(ValueError, match="payload type 97"):
        world(rtx=False).receiver.rtp(bytes([0x80, RTX, 0, 1]) + bytes(12), 3.0)
