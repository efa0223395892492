"""What a WHEP player says, byte for byte: for tests of what the relay answers to it."""

import secrets
from dataclasses import dataclass

import aiohttp
from aiortc.sdp import MediaDescription, SessionDescription
from rigs.relay import Relay

SDP = {"Content-Type": "application/sdp"}
SDPFRAG = {"Content-Type": "application/trickle-ice-sdpfrag"}
FINGERPRINT = ":".join(["AB"] * 32)
PWD = "0123456789012345678901"

_H264 = "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\n"
VP8 = "a=rtpmap:96 VP8/90000\n"


def offer(*, codec: str = _H264, direction: str = "recvonly", ufrag: str = "frag", candidates: str = "") -> str:
    return (
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0\na=ice-options:trickle\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\n"
        f"a=ice-ufrag:{ufrag}\na=ice-pwd:{PWD}\n{candidates}a=setup:actpass\na=fingerprint:sha-256 {FINGERPRINT}\n"
        f"a=mid:0\na={direction}\na=rtcp-mux\na=rtcp-mux-only\n{codec}"
    ).replace("\n", "\r\n")


def counter_answer(offered: str, *, setup: str = "active", codec: str = _H264) -> str:
    """An answer to the relay's own offer."""
    assert SessionDescription.parse(offered).media
    return offer(codec=codec).replace("a=setup:actpass", f"a=setup:{setup}").replace("a=rtcp-mux-only\r\n", "")


def fragment(*, ufrag: str = "frag", pwd: str = PWD, mid: str = "0", candidates: tuple[str, ...] = ()) -> str:
    lines = ["a=ice-options:trickle ice2", "a=group:BUNDLE 0", "m=video 9 UDP/TLS/RTP/SAVPF 96", f"a=mid:{mid}"]
    lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", *(f"a=candidate:{candidate}" for candidate in candidates)]
    return "".join(f"{line}\r\n" for line in lines)


def video(sdp: str) -> MediaDescription:
    (media,) = SessionDescription.parse(sdp).media
    return media


@dataclass(frozen=True, slots=True)
class Joined:
    """A session as its player knows it."""

    url: str
    etag: str
    answer: str


async def join(
    relay: Relay, http: aiohttp.ClientSession, headers: dict[str, str] | None = None, sdp: str | None = None
) -> Joined:
    """Posts an offer for the camera kota/taman, which is answered."""
    headers = SDP | (headers if headers is not None else relay.bearer())
    async with http.post(f"{relay.url}/whep/kota/taman", data=sdp or offer(), headers=headers) as response:
        assert response.status == 201, await response.text()
        return Joined(
            url=relay.url + response.headers["Location"],
            etag=response.headers["ETag"],
            answer=await response.text(),
        )


def fresh_ufrag() -> str:
    return secrets.token_hex(4)
