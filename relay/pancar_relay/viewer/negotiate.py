"""Offer in, answer out: the SDP of a WHEP viewer (RFC 3264, RFC 8829, draft-ietf-wish-whep-04). Pure.

`viewer.sessions` calls `read_offer` with what a viewer posted, then `answer` with what the relay chose for him. One
video section is accepted; every other one is rejected in place.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from aiortc import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcdtlstransport import X509_DIGEST_ALGORITHMS
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.rtcrtpparameters import (
    ParametersDict,
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)
from aiortc.sdp import (
    GroupDescription,
    H264Profile,
    MediaDescription,
    SessionDescription,
    SsrcDescription,
    parse_h264_profile_level_id,
)

from pancar_relay.errors import NegotiationError, NoCommonCodecError

OFFER_LIMIT = 32 * 1024
MEDIA_LIMIT = 32
FINGERPRINT_LIMIT = 8
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
FEEDBACK = [("nack", None), ("nack", "pli"), ("ccm", "fir")]
# RFC 6184, 8.1: what an absent profile-level-id means.
DEFAULT_PROFILE_LEVEL_ID = "420010"
CLOCK_RATE = 90_000

# Of an offer's lines only these bear on the answer. Candidates are not among them: the relay is ICE-lite and sends to
# where checks come from. Leaving the rest out saves two thirds of the parsing, and its quadratic parts.
_SESSION_LINE = re.compile(r"a=(?:group|ice-ufrag|fingerprint|setup)\b")
_MEDIA_LINE = re.compile(r"a=(?:mid|ice-ufrag|fingerprint|setup|rtcp-mux|extmap|inactive|sendonly|recvonly|sendrecv)\b")
_FORMAT_LINE = re.compile(r"a=(rtpmap|fmtp|rtcp-fb):(\d{1,3}|\*) (.+)")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,64}")
_ICE_UFRAG = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")
_PROFILE_LEVEL_ID = re.compile(r"[0-9A-Fa-f]{6}")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){19,63}")


@dataclass(frozen=True, slots=True)
class Codec:
    """A payload type of the offer that carries H.264 in packetization-mode 1."""

    payload_type: int
    profile_level_id: str
    level_asymmetry_allowed: bool
    feedback: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """An m-section, as far as its rejection needs it."""

    kind: str
    protocol: str
    formats: tuple[str, ...]
    mid: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What the relay needs of an offer: `sections` all of them, `video` the index of the one to be answered."""

    sections: tuple[Section, ...]
    video: int
    bundled: bool
    ice_ufrag: str
    fingerprints: tuple[RTCDtlsFingerprint, ...]
    codecs: tuple[Codec, ...]
    mid_extension: int | None
    playout_delay_extension: int | None

    @property
    def mid(self) -> str:
        return self.sections[self.video].mid


@dataclass(frozen=True, slots=True)
class Local:
    """The relay's end of one session."""

    addresses: Sequence[tuple[str, int]]
    ice_ufrag: str
    ice_pwd: str
    fingerprint: RTCDtlsFingerprint
    ssrc: int
    cname: str


def read_offer(text: str) -> Offer:
    """Raises NegotiationError for what is no sound offer of a viewer, NoCommonCodecError where it leaves out H.264."""
    if len(text) > OFFER_LIMIT:
        raise NegotiationError(f"the offer is larger than {OFFER_LIMIT} bytes")
    try:
        session = SessionDescription.parse(_essence(text))
    # What aiortc's parser raises on lines that are no SDP.
    except (AssertionError, AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise NegotiationError("the offer is not sound SDP") from error
    if not session.media:
        raise NegotiationError("the offer has no media section")
    sections = tuple(_section(media) for media in session.media)
    bundle = next((group.items for group in session.group if group.semantic == "BUNDLE"), [])
    index = _receiving_video(session.media, bundle)
    media = session.media[index]
    if not media.rtcp_mux:
        raise NegotiationError("the offer's video section lacks rtcp-mux")
    bundled = bool(sections[index].mid) and sections[index].mid in bundle
    # A bundle-only section leaves its transport to another of its group (RFC 8843, 7.1.3).
    carriers = [media] + [m for m in session.media if bundled and m.rtp.muxId in bundle]
    codecs = tuple(codec for codec in map(_codec, media.rtp.codecs) if codec is not None)
    if not codecs:
        raise NoCommonCodecError("the offer holds no H.264 in packetization-mode 1")
    return Offer(
        sections=sections,
        video=index,
        bundled=bundled,
        ice_ufrag=_ice_ufrag(carriers),
        fingerprints=_fingerprints(carriers),
        codecs=codecs,
        mid_extension=_extension(media, MID) if 0 < len(sections[index].mid) <= 16 else None,
        playout_delay_extension=_extension(media, PLAYOUT_DELAY),
    )


def choose(codecs: Sequence[Codec], profile_level_id: str) -> Codec:
    """The offered codec to send a stream of that profile-level-id as: its own profile, else Constrained Baseline, else
    Baseline, which decoders take every profile under; else the first."""
    wanted = [_profile(profile_level_id), H264Profile.PROFILE_CONSTRAINED_BASELINE, H264Profile.PROFILE_BASELINE]
    for profile in wanted:
        for codec in codecs:
            if profile is not None and _profile(codec.profile_level_id) is profile:
                return codec
    return codecs[0]


def answer(offer: Offer, codec: Codec, local: Local) -> str:
    """The answer to `offer` with `codec`, one of its codecs."""
    session = SessionDescription()
    session.origin = f"- {local.ssrc} 0 IN IP4 127.0.0.1"
    if offer.bundled:
        session.group.append(GroupDescription("BUNDLE", [offer.mid]))
    for index, section in enumerate(offer.sections):
        media = MediaDescription(section.kind, 0, section.protocol, list(section.formats))
        media.rtp.muxId = section.mid
        media.host = "0.0.0.0"  # noqa: S104 - the null address of SDP, nothing is bound
        media.direction = "inactive"
        media.ice = RTCIceParameters()
        if index == offer.video:
            _accept(media, offer, codec, local)
        session.media.append(media)
    return str(session)


def _accept(media: MediaDescription, offer: Offer, codec: Codec, local: Local) -> None:
    media.fmt = [codec.payload_type]
    media.direction = "sendonly"
    media.msid = "pancar video"
    media.host, media.port = local.addresses[0]
    media.rtcp_port, media.rtcp_host, media.rtcp_mux = 9, "0.0.0.0", True  # noqa: S104 - as above
    media.rtp.codecs = [_answered(codec)]
    media.rtp.headerExtensions = [
        RTCRtpHeaderExtensionParameters(id=identifier, uri=uri)
        for identifier, uri in ((offer.mid_extension, MID), (offer.playout_delay_extension, PLAYOUT_DELAY))
        if identifier is not None
    ]
    media.ssrc = [SsrcDescription(ssrc=local.ssrc, cname=local.cname, msid=media.msid)]
    media.ice = RTCIceParameters(usernameFragment=local.ice_ufrag, password=local.ice_pwd, iceLite=True)
    media.ice_candidates = [_candidate(*where) for where in enumerate(local.addresses)]
    media.ice_candidates_complete = True
    media.dtls = RTCDtlsParameters(fingerprints=[local.fingerprint], role="server")


def _essence(text: str) -> str:
    """The lines that bear on the answer: of the formats only H.264's."""
    kept: list[str] = []
    section: list[str] = []
    keep = _SESSION_LINE
    media_sections = 0
    for line in text.splitlines():
        if line.startswith("m="):
            media_sections += 1
            if media_sections > MEDIA_LIMIT:
                raise NegotiationError(f"the offer has more than {MEDIA_LIMIT} media sections")
            kept += _h264_only(section)
            kept.append(line)
            section, keep = [], _MEDIA_LINE
        elif keep.match(line):
            kept.append(line)
        elif line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")):
            section.append(line)
    return "\r\n".join(kept + _h264_only(section)) + "\r\n"


def _h264_only(lines: list[str]) -> list[str]:
    formats = [match for line in lines if (match := _FORMAT_LINE.fullmatch(line)) is not None]
    h264 = {m[2] for m in formats if m[1] == "rtpmap" and m[3].upper().startswith(f"H264/{CLOCK_RATE}")}
    return [m[0] for m in formats if m[2] in h264 or (m[1] == "rtcp-fb" and m[2] == "*" and h264)]


def _section(media: MediaDescription) -> Section:
    mid = media.rtp.muxId
    if mid and not _TOKEN.fullmatch(mid):
        raise NegotiationError("the offer has a mid that is no token")
    formats = tuple(str(fmt) for fmt in media.fmt)
    if not all(_TOKEN.fullmatch(text) for text in (media.kind, *formats)):
        raise NegotiationError("the offer has a media line that is not sound")
    return Section(media.kind, media.profile, formats, mid)


def _receiving_video(sections: list[MediaDescription], bundle: list[str | int]) -> int:
    for index, media in enumerate(sections):
        # Port 0 is a rejected section, unless it is bundle-only, and only then in the group (RFC 8843, 7.1 and 7.3).
        open_ = media.port != 0 or media.rtp.muxId in bundle
        receives = media.direction in (None, "recvonly", "sendrecv")
        if media.kind == "video" and "SAVP" in media.profile and receives and open_:
            return index
    raise NegotiationError("the offer has no video section that receives")


def _ice_ufrag(carriers: list[MediaDescription]) -> str:
    ufrag = next((m.ice.usernameFragment for m in carriers if m.ice and m.ice.usernameFragment), "")
    if not _ICE_UFRAG.fullmatch(ufrag):
        raise NegotiationError("the offer has no sound ice-ufrag")
    return ufrag


def _fingerprints(carriers: list[MediaDescription]) -> tuple[RTCDtlsFingerprint, ...]:
    dtls = next((m.dtls for m in carriers if m.dtls is not None and m.dtls.fingerprints), None)
    if dtls is None:
        raise NegotiationError("the offer has no DTLS fingerprint and setup role")
    if dtls.role == "server":
        raise NegotiationError("the offer insists on setup:passive, as the relay does")
    if len(dtls.fingerprints) > FINGERPRINT_LIMIT:
        raise NegotiationError(f"the offer has more than {FINGERPRINT_LIMIT} fingerprints")
    if not all(_FINGERPRINT.fullmatch(f.value) for f in dtls.fingerprints):
        raise NegotiationError("the offer has a fingerprint that is not sound")
    if not any(f.algorithm.lower() in X509_DIGEST_ALGORITHMS for f in dtls.fingerprints):
        raise NegotiationError("the offer's fingerprints are of unknown algorithms")
    return tuple(dtls.fingerprints)


def _extension(media: MediaDescription, uri: str) -> int | None:
    # One-byte headers hold 1 to 14 (RFC 8285, 4.2).
    return next((x.id for x in media.rtp.headerExtensions if x.uri == uri and 1 <= x.id <= 14), None)


def _codec(codec: RTCRtpCodecParameters) -> Codec | None:
    parameters = codec.parameters
    payload_type = codec.payloadType
    if parameters.get("packetization-mode") != "1" or payload_type is None or not 0 <= payload_type <= 127:
        return None
    profile_level_id = str(parameters.get("profile-level-id") or DEFAULT_PROFILE_LEVEL_ID)
    if not _PROFILE_LEVEL_ID.fullmatch(profile_level_id):
        return None
    offered = {(feedback.type, feedback.parameter) for feedback in codec.rtcpFeedback}
    return Codec(
        payload_type=payload_type,
        profile_level_id=profile_level_id,
        level_asymmetry_allowed=parameters.get("level-asymmetry-allowed") == "1",
        feedback=tuple(wanted for wanted in FEEDBACK if wanted in offered),
    )


@lru_cache(maxsize=256)
def _profile(profile_level_id: str) -> H264Profile | None:
    try:
        return parse_h264_profile_level_id(profile_level_id)[0]
    except ValueError:
        return None


def _answered(codec: Codec) -> RTCRtpCodecParameters:
    parameters: ParametersDict = {"level-asymmetry-allowed": "1"} if codec.level_asymmetry_allowed else {}
    parameters |= {"packetization-mode": "1", "profile-level-id": codec.profile_level_id}
    return RTCRtpCodecParameters(
        mimeType="video/H264",
        clockRate=CLOCK_RATE,
        payloadType=codec.payload_type,
        rtcpFeedback=[RTCRtcpFeedback(type=type_, parameter=parameter) for type_, parameter in codec.feedback],
        parameters=parameters,
    )


def _candidate(index: int, address: tuple[str, int]) -> RTCIceCandidate:
    # RFC 8445, 5.1.2.1: a host candidate, its local preference by the order of the addresses.
    priority = (126 << 24) | ((65535 - index) << 8) | 255
    return RTCIceCandidate(
        component=1,
        foundation=str(index + 1),
        ip=address[0],
        port=address[1],
        priority=priority,
        protocol="udp",
        type="host",
    )
