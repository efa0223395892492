"""Makes the captures beside it: `PYTHONPATH=tests/support .venv/bin/python tests/captures/make.py`.

A capture is what a camera described (NAME.sdp) and the RTP it sent (NAME.rtpdump, the format of rtptools): two seconds
of a picture that a test can read, sound or broken in the one way that its name says. They are committed, so that tests
do not depend on an encoder's version.
"""

import base64
import random
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from rigs import picture

FOLDER = Path(__file__).parent
FPS, FRAMES, CLOCK = 15, 30, 90_000
# Small, so that key frames take several packets.
PAYLOAD = 300
SPS, PPS, IDR = 7, 8, 5
NOISE = random.Random(1).randbytes(1 << 16)  # noqa: S311 - by a seed


@dataclass(frozen=True)
class Packet:
    """`at` is seconds after the first."""

    at: float
    timestamp: int
    payload: bytes
    marker: bool = False
    # Packets that are missing before this one.
    gap: int = 0


Unit = list[bytes]


def kind(nal: bytes) -> int:
    return nal[0] & 0x1F


def encode(
    *, width: int = 128, height: int = 96, first: int = 0, frames: int = FRAMES, **options: Any
) -> list[tuple[int, Unit]]:
    """Access units in decoding order, each with its number in presentation order."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt, codec.framerate = width, height, "yuv420p", Fraction(FPS)
    codec.time_base = Fraction(1, FPS)
    codec.gop_size = FPS
    codec.profile = options.pop("profile", "Baseline")
    x264 = {"scenecut": 0, "bframes": 0, "threads": 1, "sliced-threads": 0, "aud": 0, "annexb": 1, **options}
    tune = {} if x264["bframes"] else {"tune": "zerolatency"}
    parameters = ":".join(f"{name}={value}" for name, value in x264.items())
    codec.options = {"preset": "veryfast", "crf": "30", "x264-params": parameters, **tune}
    units: list[tuple[int, Unit]] = []
    for number in [*range(first, first + frames), None]:
        frame = None
        if number is not None:
            frame = av.VideoFrame(width, height, "yuv420p")
            frame.pts = number
            fill(frame, number)
        for packet in codec.encode(frame):
            units.append((packet.pts or 0, nals(bytes(packet))))
    return units


def fill(frame: av.VideoFrame, number: int) -> None:
    """Paints it, with the same noise in each, so that key frames take most of the bytes."""
    luma = frame.width * frame.height
    painted = bytearray(picture.paint(1, number, frame.width, frame.height))
    painted[: luma // 3] = bytes(byte >> 2 for byte in NOISE[: luma // 3])
    for plane in frame.planes:
        size = plane.width * plane.height
        rows = [painted[start : start + plane.width] for start in range(0, size, plane.width)]
        plane.update(b"".join(bytes(row).ljust(plane.line_size, b"\0") for row in rows))
        del painted[:size]


def nals(annex_b: bytes) -> Unit:
    parts = annex_b.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    # Without SEI: x264 tells its whole command line.
    return [nal for nal in parts if nal and kind(nal) != 6]


def fragments(nal: bytes) -> list[bytes]:
    """RFC 6184: a single NAL unit packet, or FU-A."""
    if len(nal) <= PAYLOAD:
        return [nal]
    pieces = [nal[start : start + PAYLOAD - 2] for start in range(1, len(nal), PAYLOAD - 2)]
    return [
        bytes([nal[0] & 0xE0 | 28, (0x80 if n == 0 else 0) | (0x40 if n == len(pieces) - 1 else 0) | kind(nal)]) + piece
        for n, piece in enumerate(pieces)
    ]


def packets(units: Iterable[tuple[int, Unit]], split: Callable[[Unit], list[bytes]] | None = None) -> list[Packet]:
    made = []
    for order, (number, unit) in enumerate(units):
        payloads = split(unit) if split else [payload for nal in unit for payload in fragments(nal)]
        for index, payload in enumerate(payloads):
            marker = index == len(payloads) - 1
            made.append(Packet(order / FPS, number * CLOCK // FPS, payload, marker))
    return made


def sprop(*sets: bytes) -> str:
    return ";sprop-parameter-sets=" + ",".join(base64.b64encode(nal).decode() for nal in sets)


def describe(parameters: str = "", media: str = "video", codec: str = "H264/90000") -> str:
    lines = [
        *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=capture", "c=IN IP4 0.0.0.0", "t=0 0"),
        *(f"m={media} 0 RTP/AVP 96", f"a=rtpmap:96 {codec}"),
        *([f"a=fmtp:96 packetization-mode=1{parameters}"] if codec.startswith("H264") else []),
        "a=control:track1",
    ]
    return "\r\n".join(lines) + "\r\n"


def write(name: str, made: Sequence[Packet], sdp: str) -> None:
    (FOLDER / f"{name}.sdp").write_bytes(sdp.encode())
    dump = b"#!rtpplay1.0 127.0.0.1/5004\n" + struct.pack("!IIIHH", 0, 0, 0, 0, 0)
    sequence = 65_500
    for packet in made:
        sequence += packet.gap
        kind_byte = 96 | (0x80 if packet.marker else 0)
        header = struct.pack("!BBHII", 0x80, kind_byte, sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, 0x50414E43)
        data = header + packet.payload
        dump += struct.pack("!HHI", len(data) + 8, len(data), round(packet.at * 1000)) + data
        sequence += 1
    (FOLDER / f"{name}.rtpdump").write_bytes(dump)


def without(units: Iterable[tuple[int, Unit]], *kinds: int) -> list[tuple[int, Unit]]:
    left = [(number, [nal for nal in unit if kind(nal) not in kinds]) for number, unit in units]
    return [(number, unit) for number, unit in left if unit]


def annex_b(unit: Unit) -> list[bytes]:
    """All of an access unit with start codes between, as if it were one NAL unit."""
    return fragments(b"\0\0\0\1".join(unit))


def aggregated(unit: Unit) -> list[bytes]:
    """Small neighbours in STAP-A."""
    small = [nal for nal in unit if len(nal) < 100]
    stap = b"\x78" + b"".join(struct.pack("!H", len(nal)) + nal for nal in small)
    rest = [payload for nal in unit if nal not in small for payload in fragments(nal)]
    return ([stap] if len(small) > 1 else small) + rest


def interleaved(unit: Unit) -> list[bytes]:
    """STAP-B, of packetization mode 2."""
    return [b"\x79\0\0" + struct.pack("!H", len(nal)) + nal for nal in unit]


def without_end(payload: bytes) -> bytes:
    if kind(payload) != 28:
        return payload
    return bytes([payload[0], payload[1] & 0xBF]) + payload[2:]


def sets_apart(made: list[Packet]) -> list[Packet]:
    """Each parameter set with a marker and a timestamp of its own."""
    return [
        replace(packet, timestamp=packet.timestamp - 20 + kind(packet.payload), marker=True)
        if kind(packet.payload) in (SPS, PPS)
        else packet
        for packet in made
    ]


def holes_in_keys(made: list[Packet]) -> list[Packet]:
    """Without the second packet of each key frame."""
    kept: list[Packet] = []
    for packet in made:
        is_key_fragment = kind(packet.payload) == 28 and packet.payload[1] & 0x1F == IDR
        begins = packet.payload[1] & 0x80
        if is_key_fragment and not begins and kept[-1].payload[1] & 0x80:
            kept.append(replace(packet, gap=-1))
        else:
            kept.append(packet)
    return [replace(p, gap=1) if n and kept[n - 1].gap < 0 else p for n, p in enumerate(kept) if p.gap >= 0]


def main() -> None:
    plain, sliced = encode(), encode(slices=3)
    sps, pps = plain[0][1][:2]
    large = encode(width=192, height=144, first=15, frames=15)
    large_sps, large_pps = large[0][1][:2]
    bare = without(plain, SPS, PPS)
    write("plain", packets(plain), describe())
    write("sets-in-sdp", packets(bare), describe(sprop(sps, pps)))
    write("sets-several", packets(bare), describe(sprop(large_sps, sps, pps + b"\0\0\0\1" + pps, pps)))
    write("sets-late", packets([*bare[:15], *plain[15:]]), describe())
    write("sets-apart", sets_apart(packets(plain)), describe())
    write("sets-joined", packets(plain, aggregated), describe())
    write("sps-changes", packets([*plain[:15], *large]), describe(sprop(large_sps, large_pps)))
    write("marker-never", [replace(packet, marker=False) for packet in packets(sliced)], describe())
    write("marker-always", [replace(packet, marker=True) for packet in packets(sliced)], describe())
    write("annex-b", packets(plain, annex_b), describe())
    no_end = [replace(packet, payload=without_end(packet.payload)) for packet in packets(plain)]
    write("fragments-without-end", no_end, describe())
    back = [replace(p, timestamp=p.timestamp + (900_000 if p.at < 1 else 0)) for p in packets(plain)]
    write("timestamps-jump-back", back, describe())
    write("timestamps-wrap", [replace(p, timestamp=p.timestamp - CLOCK) for p in packets(plain)], describe())
    write("timestamps-stand-still", [replace(p, timestamp=7) for p in packets(plain)], describe())

    write("b-frames", packets(encode(bframes=2, profile="Main")), describe())
    write("no-key-frame", packets([unit for unit in plain if kind(unit[1][-1]) != IDR]), describe(sprop(sps, pps)))
    write("no-sets", packets(bare), describe())
    cut = [(number, [nal[:6] if kind(nal) == SPS else nal for nal in unit]) for number, unit in plain]
    write("sps-broken", packets(cut), describe())
    write("keys-with-holes", holes_in_keys(packets(plain)), describe())
    write("interleaved", packets(plain, interleaved), describe())
    write("nothing", [], describe(sprop(sps, pps)))
    write("h265", packets(plain), describe(codec="H265/90000"))
    write("no-video", packets(plain), describe(media="audio", codec="L16/44100"))


if __name__ == "__main__":
    main()
