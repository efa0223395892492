"""Feeds mutated offers, answers and ICE fragments to their parsers for FUZZ_SECONDS (60 by default): `python
tests/fuzz/sdp.py`.

Fails on any exception but the parsers' own, on what is written other than it was read, and on an input that takes
longer than any may in the loop that serves all viewers. An input that failed is written to the working directory.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from pancar_relay.desired import MediaAddresses
from pancar_relay.errors import FragmentError, NegotiationError
from pancar_relay.viewer.negotiate import Local, answer, choose, counter_offer, read_counter_answer, read_offer
from pancar_relay.viewer.sdpfrag import Fragment, read_fragment, write_fragment

SLOW_SECONDS: Final = 0.25
MEDIA: Final = MediaAddresses((("192.0.2.10", 40000),))
LOCAL: Final = Local(MEDIA, f"sha-256 {':'.join(['AB'] * 32)}", "abcdefgh", "p" * 32, 7, 8, "cname")
VIDEO: Final = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:frag\r\na=ice-pwd:0123456789012345678901\r\n"
    "a=ice-options:trickle\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"
    f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\na=mid:0\r\n"
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
    "a=rtpmap:97 H264/90000\r\na=rtcp-fb:97 nack pli\r\na=fmtp:97 packetization-mode=1;profile-level-id=42e01f\r\n"
)
SESSION: Final = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
SEEDS: Final = [
    SESSION + VIDEO,
    SESSION + VIDEO.replace("m=video 9", "m=audio 9").replace("a=mid:0", "a=mid:a") + VIDEO,
    counter_offer("640028", LOCAL),
    write_fragment(
        Fragment(
            ufrag="EsAw",
            pwd="P2uYro0UCOQ4zxjKXaWCBui1",
            media="video 9 UDP/TLS/RTP/SAVPF 96",
            mid="0",
            candidates=("1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw",),
            complete=True,
            lite=True,
        )
    ),
]
TOKENS: Final = (
    *("\r\n", "\n", "\0", " ", ":", ";", "=", "/", "*", "-1", "0", "65536", "9" * 400, "\u2028", "\x85", "\ud7ff"),
    *("m=", "a=", "m=video 0 RTP/SAVP 0\r\n", "a=mid:", "a=group:BUNDLE ", "a=rtpmap:", "a=fmtp:", "a=extmap:"),
    *("a=rtcp-fb:* ", "a=candidate:", "a=ice-ufrag:", "a=setup:passive", "a=ssrc:", "a=sctpmap:", "typ host "),
)


def mutate(random: Random) -> str:
    text = random.choice(SEEDS)
    for _ in range(random.choice((1, 1, 2, 3, 8, 30))):
        at = random.randint(0, len(text))
        match random.randrange(4):
            case 0:
                text = text[:at] + random.choice(TOKENS) + text[at:]
            case 1:
                text = text[:at] + text[at + random.choice((1, 2, 5, 40)) :]
            case 2:
                text = text[:at] + text[at : at + random.randint(1, 200)] * random.choice((2, 2, 30)) + text[at:]
            case _:
                lines = text.splitlines(keepends=True) or [""]
                random.shuffle(lines)
                text = "".join(lines)
    return text[:33_000]


def offer(text: str) -> None:
    try:
        read = read_offer(text)
    except NegotiationError:
        return
    written = answer(read, choose(read.shape.codecs, "640028"), LOCAL)
    # Whatever an offer holds, the answer has as many sections.
    assert written.count("\r\nm=") == len(read.shape.sections)


def counter_answer(text: str) -> None:
    try:
        read_counter_answer(text)
    except NegotiationError:
        return


def fragment(text: str) -> None:
    try:
        read = read_fragment(text)
    except FragmentError:
        return
    assert read_fragment(write_fragment(read)) == read


TARGETS: Final[tuple[Callable[[str], None], ...]] = (offer, counter_answer, fragment)


def main() -> int:
    seconds, seed = float(os.environ.get("FUZZ_SECONDS", "60")), int(os.environ.get("FUZZ_SEED", "0")) or time.time_ns()
    random, count, end = Random(seed), 0, time.monotonic() + seconds  # noqa: S311 - repeatable, not secret
    while time.monotonic() < end:
        text, target = mutate(random), random.choice(TARGETS)
        since = time.process_time()
        try:
            target(text)
            if time.process_time() - since > SLOW_SECONDS:
                raise TimeoutError(f"{time.process_time() - since:.2f} s of CPU")
        except Exception as error:  # noqa: BLE001 - anything else is what this looks for
            kept = Path(f"crash-sdp-{target.__name__}-{seed}-{count}")
            kept.write_bytes(text.encode("utf-8", "surrogatepass"))
            print(f"{target.__name__}: {error!r}; the input is in {kept}", file=sys.stderr)  # noqa: T201 - a program
            return 1
        count += 1
    print(f"sdp: {count} inputs, seed {seed}")  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
