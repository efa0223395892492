"""What the receiver writes is what aiortc reads, and the other way round."""

import pytest
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    wrap_rtx,
)
from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.bench.receiver import rtp

WORD = st.integers(0, 2**32 - 1)


@given(st.sets(st.integers(0, 2**16 - 1), min_size=1, max_size=40))
def test_a_nack_names_what_is_missing(missing: set[int]) -> None:
    (packet,) = RtcpPacket.parse(rtp.nack(1, 2, sorted(missing)))
    assert isinstance(packet, RtcpRtpfbPacket)
    assert (packet.fmt, packet.ssrc, packet.media_ssrc) == (RTCP_RTPFB_NACK, 1, 2)
    assert set(packet.lost) == missing


def test_a_nack_goes_on_across_the_wrap() -> None:
    (packet,) = RtcpPacket.parse(rtp.nack(1, 2, [65534, 65536, 65540]))
    assert isinstance(packet, RtcpRtpfbPacket)
    assert [number & 0xFFFF for number in packet.lost] == [65534, 0, 4]


def test_a_report_and_a_picture_loss_indication() -> None:
    reception = rtp.Reception(
        ssrc=9, loss=0.25, lost=-3, highest=70_000, jitter=5, last_report=7, since_last_report=0.5
    )
    report, indication = RtcpPacket.parse(rtp.receiver_report(1, reception) + rtp.pli(1, 9))
    assert isinstance(report, RtcpRrPacket)
    assert report.reports == [
        RtcpReceiverInfo(
            ssrc=9, fraction_lost=64, packets_lost=-3, highest_sequence=70_000, jitter=5, lsr=7, dlsr=32768
        )
    ]
    assert isinstance(indication, RtcpPsfbPacket)
    assert (indication.fmt, indication.media_ssrc) == (RTCP_PSFB_PLI, 9)
    assert len(RtcpPacket.parse(rtp.receiver_report(1, None))) == 1


@given(WORD, WORD)
def test_a_sender_report_is_known_by_the_middle_of_its_time(seconds: int, fraction: int) -> None:
    info = RtcpSenderInfo(ntp_timestamp=seconds << 32 | fraction, rtp_timestamp=0, packet_count=1, octet_count=1)
    compound = rtp.receiver_report(1, None) + bytes(RtcpSrPacket(ssrc=3, sender_info=info))
    assert list(rtp.sender_reports(compound)) == [(seconds & 0xFFFF) << 16 | fraction >> 16]


@given(st.binary(max_size=30), st.integers(0, 2**16 - 1), WORD, st.booleans())
def test_a_packet_sent_again_is_the_packet(payload: bytes, sequence: int, timestamp: int, marker: bool) -> None:
    original = RtpPacket(96, int(marker), sequence, timestamp, 5, payload)
    plain = rtp.parse(bytes(original.serialize()), None)
    assert plain == rtp.Packet(96, sequence, timestamp, marker, payload)
    again = rtp.parse(bytes(wrap_rtx(original, payload_type=97, sequence_number=1, ssrc=6).serialize()), None)
    assert rtp.unwrap_rtx(again, 96) == (plain if payload else None)


def test_playout_delay_is_read_among_other_extensions() -> None:
    # One-byte elements: mid "0" as 1, padding, playout-delay 0.1 s to 0.4 s as 2.
    extension = bytes([0x10, 0x30, 0x00, 0x22, 0x00, 0xA0, 0x28, 0x00])
    data = bytes.fromhex("90e000010000000200000003bede0002") + extension + b"body"
    assert rtp.parse(data, 2).playout_delay == (0.1, 0.4)
    assert rtp.parse(data, 3).playout_delay is None
    assert rtp.parse(data, 2).payload == b"body"


@given(st.binary(max_size=64))
def test_garbage_is_refused_or_taken_for_a_packet(data: bytes) -> None:
    try:
        packet = rtp.parse(data, 2)
    except ValueError:
        return
    assert data[0] >> 6 == 2
    assert data.find(packet.payload) >= 0


def test_a_cut_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="cut"):
        rtp.parse(b"\x80\x60", None)
