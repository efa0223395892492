"""NAL units survive the way into RTP payloads and back, and the description says what is in them."""

import base64

from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.demo.rtsp import h264

SPS, PPS = bytes.fromhex("6742c01fda01"), bytes.fromhex("68ce3c80")


def legal(nal: bytes) -> bool:
    """What an encoder may put out: emulation prevention keeps start codes out, a stop bit ends it."""
    return b"\0\0\0" not in nal and b"\0\0\1" not in nal and nal[-1] != 0


units = st.builds(
    lambda kind, body: bytes((0x60 | kind,)) + body + b"\x80", st.integers(1, 12), st.binary(max_size=4000)
).filter(legal)


def reassembled(payloads: list[bytes]) -> list[bytes]:
    """RFC 6184, 5.6 and 5.8, from the receiver's side."""
    found: list[bytes] = []
    for payload in payloads:
        if payload[0] & 31 != 28:
            found.append(payload)
        elif payload[1] & 0x80:
            found.append(bytes((payload[0] & 0xE0 | payload[1] & 31,)) + payload[2:])
        else:
            found[-1] += payload[2:]
    return found


@given(st.lists(units, max_size=5), st.sampled_from([b"\0\0\1", b"\0\0\0\1"]))
def test_byte_stream_comes_apart(nals: list[bytes], start: bytes) -> None:
    assert list(h264.nals(b"".join(start + nal for nal in nals))) == nals


@given(st.binary(max_size=300))
def test_any_bytes_come_apart(data: bytes) -> None:
    assert all(nal and nal[-1] for nal in h264.nals(data))


@given(units, st.integers(3, 1500))
def test_payloads_come_together_again(nal: bytes, size: int) -> None:
    payloads = list(h264.packetize(nal, size))
    assert all(len(payload) <= size for payload in payloads)
    assert reassembled(payloads) == [nal]
    if len(payloads) > 1:
        assert [payload[1] >> 6 for payload in payloads] == [2, *[0] * (len(payloads) - 2), 1]


def test_access_unit() -> None:
    unit = h264.access_unit([b"\x09\xf0", SPS, PPS, b"\x65" + b"x" * 5000], 90_000, 1.0)
    assert unit.key
    assert reassembled(list(unit.payloads)) == [SPS, PPS, b"\x65" + b"x" * 5000]
    assert not h264.access_unit([b"\x41abc"], 90_000, 1.0).key


def test_parameter_sets() -> None:
    assert h264.parameter_sets([b"\x06sei", SPS, PPS]) == (SPS, PPS)
    assert h264.parameter_sets([SPS]) is None


def test_description() -> None:
    sdp = h264.Description("Gate\r\na=evil", SPS, PPS).sdp("::1").decode().split("\r\n")
    assert "s=Gate  a=evil" in sdp
    assert "o=- 0 0 IN IP6 ::1" in sdp
    (fmtp,) = [line for line in sdp if line.startswith("a=fmtp")]
    fields = dict(field.split("=", 1) for field in fmtp.partition(" ")[2].split(";"))
    assert fields["packetization-mode"] == "1"
    assert fields["profile-level-id"] == "42c01f"
    assert [base64.b64decode(part) for part in fields["sprop-parameter-sets"].split(",")] == [SPS, PPS]
