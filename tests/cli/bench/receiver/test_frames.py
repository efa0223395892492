"""Which frames can be decoded, whatever order their packets come in and whichever are missing."""

import random

from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.bench.receiver.frames import LIMIT, Frames
from pancar_cli.bench.receiver.rtp import Packet

KEY, DELTA = bytes([24, 0, 2, 0x67, 0]), bytes([0x61, 0])


def video(gops: int, gop: int, packets: int) -> list[Packet]:
    """Whole packets by their number."""
    made: list[Packet] = []
    for frame in range(gops * gop):
        for place in range(packets):
            first = place == 0 and frame % gop == 0
            payload = KEY if first else DELTA
            made.append(Packet(96, len(made), 3600 * frame, place == packets - 1, payload))
    return made


def decoded(frames: Frames, packets: list[Packet]) -> list[int]:
    return [frame.timestamp // 3600 for packet in packets for frame in frames.insert(packet.sequence, packet)]


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(0, 9), st.integers(1, 8))
def test_in_any_order_each_frame_once_and_in_order(gops: int, gop: int, packets: int, seed: int, reach: int) -> None:
    sent = video(gops, gop, packets)
    late = random.Random(seed)  # noqa: S311 - to be repeated
    shuffled = sorted(sent, key=lambda packet: packet.sequence + late.uniform(0, reach))
    came = decoded(Frames(), [packet for packet in shuffled for _ in range(late.choice((1, 2)))])
    assert came == sorted(set(came))
    # A key frame that is whole before the frames ahead of it goes first, and these are then left out.
    assert came[-1] == gops * gop - 1
    if gops == 1 or shuffled == sent:
        assert came == list(range(gops * gop))


def test_a_lost_packet_stops_the_picture_until_it_or_a_key_frame_comes() -> None:
    sent = video(gops=2, gop=4, packets=3)
    frames = Frames()
    assert decoded(frames, [packet for packet in sent[:12] if packet.sequence != 7]) == [0, 1]
    assert decoded(frames, sent[7:8]) == [2, 3]
    frames = Frames()
    assert decoded(frames, [packet for packet in sent if packet.sequence != 7]) == [0, 1, 4, 5, 6, 7]
    assert decoded(frames, sent[7:8]) == []


def test_nothing_is_decoded_before_a_key_frame() -> None:
    sent = video(gops=2, gop=4, packets=2)
    assert decoded(Frames(), sent[1:]) == [4, 5, 6, 7]


def test_a_full_buffer_is_emptied() -> None:
    frames = Frames()
    sent = video(gops=1, gop=LIMIT + 2, packets=1)
    assert decoded(frames, sent[:1]) == [0]
    assert decoded(frames, sent[2:LIMIT]) == []
    assert not frames.overflow()
    assert decoded(frames, sent[LIMIT : LIMIT + 2]) == []
    assert frames.overflow()
    assert decoded(frames, sent[1:2]) == [1]
