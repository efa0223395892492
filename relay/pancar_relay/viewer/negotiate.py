"""Offer in, answer out: the SDP of a WHEP viewer (RFC 3264, RFC 8829, draft-ietf-wish-whep-04). Pure.

`viewer.sessions` calls `read_offer` with what a viewer posted, then `answer` with what the relay chose for him. One
video section is accepted; every other one is rejected in place. Where an offer leaves out every H.264 that could be
sent, `counter_offer` makes one of the relay's own, and `read_counter_answer` reads what the viewer answers to that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

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
    candidate_to_sdp,
    parse_h264_profile_level_id,
)

from pancar_relay.desired import MediaAddresses
from pancar_relay.errors import NegotiationError, NoCommonCodecError
from pancar_relay.viewer.sdpfrag import ICE_OPTIONS

OFFER_LIMIT = 32 * 1024
MEDIA_LIMIT = 32
FINGERPRINT_LIMIT = 8
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
FEEDBACK = [("nack", None), ("nack", "pli"), ("ccm", "fir")]
# RFC 6184, 8.1: what an absent profile-level-id means.
DEFAULT_PROFILE_LEVEL_ID = "420010"
CLOCK_RATE = 90_000
MSID = "pancar video"
CACHED = 64
# PCMU (RFC 3551, 6).
REJECTED_FORMAT = "0"
# The one section of a counter-offer. Its payload types begin where the dynamic ones do (RFC 3551, 6).
COUNTER_MID = "0"
COUNTER_PAYLOAD_TYPE = 96
COUNTER_EXTENSIONS = ((1, MID), (2, PLAYOUT_DELAY))
# Constrained Baseline and Baseline, which decoders take every profile under.
BASELINES = ("42e01f", "42001f")

# Of an offer's lines only these bear on the answer. Candidates are not among them: the relay is ICE-lite and sends to
# where checks come from. Leaving the rest out spares aiortc's parser its quadratic parts.
_SHAPE_LINE = re.compile(r"a=(?:group|mid|rtcp-mux|inactive|sendonly|recvonly|sendrecv)\b")
_FORMAT_LINE = re.compile(r"a=(rtpmap|fmtp|rtcp-fb):(\d{1,3}|\*) (.+)")
_APT = re.compile(r"(?:^|;) *apt=(\d{1,3})(?:;|$)")
_PORT = re.compile(r"(m=[^ ]+) [1-9][0-9]* ")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,64}")
_ICE_UFRAG = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")
_PROFILE_LEVEL_ID = re.compile(r"[0-9A-Fa-f]{6}")
_FINGERPRINT = re.compile(r"[A-Za-z0-9-]{1,32} [0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){19,63}")
# Stands for what differs from session to session in a rendered answer; no token of an offer can hold it.
_MARK = "\0"


@dataclass(frozen=True, slots=True)
class Codec:
    """A payload type of the offer that carries H.264 in packetization-mode 1."""

    payload_type: int
    profile_level_id: str
    level_asymmetry_allowed: bool
    feedback: tuple[tuple[str, str | None], ...]
    # What retransmissions of it go out as (RFC 4588); None where the offer has no such payload type.
    rtx_payload_type: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """An m-section, as far as its rejection needs it."""

    kind: str
    protocol: str
    # What is listed where it is rejected.
    formats: tuple[str, ...]
    mid: str


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What the offers of one kind of viewer have in common: `sections` all of them, `video` the index of the one to be
    answered, `bundle` the indices of those that share its transport."""

    sections: tuple[Section, ...]
    video: int
    bundle: tuple[int, ...]
    codecs: tuple[Codec, ...]
    mid_extension: int | None
    playout_delay_extension: int | None

    @property
    def mid(self) -> str:
        return self.sections[self.video].mid


@dataclass(frozen=True, slots=True)
class Offer:
    """What the relay needs of an offer."""

    shape: Shape
    ice_ufrag: str
    fingerprints: tuple[RTCDtlsFingerprint, ...]


@dataclass(frozen=True, slots=True)
class Local:
    """The relay's end of one session; (ip, port) of each candidate, the preferred ones first."""

    media: MediaAddresses
    fingerprint: str
    ice_ufrag: str
    ice_pwd: str
    ssrc: int
    rtx_ssrc: int
    cname: str


@dataclass(slots=True)
class _Transport:
    """ICE and DTLS attributes of the session or a section, each as last given there."""

    ice_ufrag: str = ""
    setup: str = ""
    fingerprints: list[str] = field(default_factory=list)


def read_offer(text: str) -> Offer:
    """Raises NegotiationError for what is no sound offer of a viewer, NoCommonCodecError where it leaves out H.264."""
    if len(text) > OFFER_LIMIT:
        raise NegotiationError(f"the SDP is larger than {OFFER_LIMIT} bytes")
    essence, transports = _divide(text)
    shape = _shape(essence)
    # A bundle-only section leaves its transport to another of its group (RFC 8843, 7.1.3), and each section to the
    # session what it does not say itself (RFC 8839, 5.4; RFC 8122, 5).
    carriers = [transports[index + 1] for index in (shape.video, *shape.bundle)] + transports[:1]
    return Offer(shape, _ice_ufrag(carriers), _fingerprints(carriers))


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
    before, middle, after = _template(offer.shape, codec, local.media, local.fingerprint)
    own = _own(local, rtx=codec.rtx_payload_type is not None)
    return f"{before}- {local.ssrc} 0 IN IP4 127.0.0.1{middle}{own}{after}"


def counter_offer(profile_level_id: str, local: Local) -> str:
    """An offer of the relay's own to send a stream of that profile-level-id (draft-ietf-wish-whep-04, 4.3.2)."""
    before, middle, after = _counter_template(profile_level_id, local.media, local.fingerprint)
    return f"{before}- {local.ssrc} 0 IN IP4 127.0.0.1{middle}{_own(local, rtx=False)}{after}"


def read_counter_answer(text: str) -> Offer:
    """What the viewer answered to a counter-offer: the same as an offer of one section, save that he has chosen.

    Raises NegotiationError.
    """
    answered = read_offer(text)
    if len(answered.shape.sections) != 1 or answered.shape.mid != COUNTER_MID:
        raise NegotiationError("the answer has other sections than the counter-offer")
    return answered


def candidates(media: MediaAddresses) -> tuple[str, ...]:
    """The relay's candidates, as the values of candidate attributes."""
    return tuple(candidate_to_sdp(candidate) for candidate in _candidates(media))


def _own(local: Local, *, rtx: bool) -> str:
    """What follows the template's ice-ufrag attribute name: all that is the session's own."""
    own = f"{local.ice_ufrag}\r\na=ice-pwd:{local.ice_pwd}"
    if rtx:
        own += f"\r\na=ssrc-group:FID {local.ssrc} {local.rtx_ssrc}"
    for ssrc in (local.ssrc, local.rtx_ssrc) if rtx else (local.ssrc,):
        own += f"\r\na=ssrc:{ssrc} cname:{local.cname}\r\na=ssrc:{ssrc} msid:{MSID}"
    return own


@lru_cache(maxsize=CACHED)
def _template(
    shape: Shape,
    codec: Codec,
    addresses: MediaAddresses,
    fingerprint: str,
) -> tuple[str, str, str]:
    """An answer in three parts, between which stand its origin and, as its ice-ufrag, what is the session's own."""
    session = SessionDescription()
    session.origin = _MARK
    if shape.bundle:
        session.group.append(GroupDescription("BUNDLE", [shape.mid]))
    for index, section in enumerate(shape.sections):
        media = MediaDescription(section.kind, 0, section.protocol, list(section.formats))
        media.rtp.muxId = section.mid
        media.host = "0.0.0.0"  # noqa: S104 - the null address of SDP, nothing is bound
        media.direction = "inactive"
        media.ice = RTCIceParameters()
        if index == shape.video:
            extensions = ((shape.mid_extension, MID), (shape.playout_delay_extension, PLAYOUT_DELAY))
            _send([codec], extensions, media)
            _transport(addresses, fingerprint, "server", media)
        session.media.append(media)
    before, middle, after = str(session).split(_MARK)
    return before, middle, after


@lru_cache(maxsize=CACHED)
def _counter_template(profile_level_id: str, addresses: MediaAddresses, fingerprint: str) -> tuple[str, str, str]:
    session = SessionDescription()
    session.origin = _MARK
    session.group.append(GroupDescription("BUNDLE", [COUNTER_MID]))
    media = MediaDescription("video", 0, "UDP/TLS/RTP/SAVPF", [])
    media.rtp.muxId = COUNTER_MID
    profiles = dict.fromkeys((profile_level_id, *BASELINES))
    codecs = [
        Codec(COUNTER_PAYLOAD_TYPE + index, profile, level_asymmetry_allowed=True, feedback=tuple(FEEDBACK))
        for index, profile in enumerate(profiles)
    ]
    _send(codecs, COUNTER_EXTENSIONS, media)
    # JSEP wants the roles left open (RFC 9429, 5.2.1), though only a client is of use here: see `_fingerprints`.
    _transport(addresses, fingerprint, "auto", media)
    session.media.append(media)
    # Which aiortc does not know; of offers alone (RFC 8858, 3).
    text = str(session).replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
    before, middle, after = text.split(_MARK)
    return before, middle, after


def _send(codecs: Sequence[Codec], extensions: Sequence[tuple[int | None, str]], media: MediaDescription) -> None:
    media.fmt = [codec.payload_type for codec in codecs]
    media.direction = "sendonly"
    media.msid = MSID
    media.rtcp_port, media.rtcp_host, media.rtcp_mux = 9, "0.0.0.0", True  # noqa: S104 - as above
    media.rtp.codecs = [_answered(codec) for codec in codecs]
    for codec in codecs:
        if codec.rtx_payload_type is not None:
            media.fmt.append(codec.rtx_payload_type)
            media.rtp.codecs.append(_rtx(codec.rtx_payload_type, codec.payload_type))
    media.rtp.headerExtensions = [
        RTCRtpHeaderExtensionParameters(id=identifier, uri=uri)
        for identifier, uri in extensions
        if identifier is not None
    ]


def _transport(
    addresses: MediaAddresses, fingerprint: str, role: Literal["auto", "server"], media: MediaDescription
) -> None:
    media.host, media.port = addresses.udp[0]
    media.ice = RTCIceParameters(usernameFragment=_MARK, iceLite=True)
    media.ice_options = ICE_OPTIONS
    media.ice_candidates = _candidates(addresses)
    media.ice_candidates_complete = True
    media.dtls = RTCDtlsParameters(fingerprints=[RTCDtlsFingerprint(*fingerprint.split(" "))], role=role)


def _divide(text: str) -> tuple[str, list[_Transport]]:
    """The lines that shape the answer (of the formats only H.264's) as SDP, and the transports of the session and of
    each section, which differ from offer to offer."""
    kept: list[str] = []
    formats: list[str] = []
    transports = [_Transport()]
    for line in text.splitlines():
        if line.startswith("m="):
            if len(transports) > MEDIA_LIMIT:
                raise NegotiationError(f"the SDP has more than {MEDIA_LIMIT} media sections")
            transports.append(_Transport())
            kept += _h264_only(formats)
            formats.clear()
            # The port is where the viewer listens, which is not asked of the offer: all but 0 are one.
            kept.append(_PORT.sub(r"\1 9 ", line, count=1))
        elif line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")):
            formats.append(line)
        elif line.startswith("a=ice-ufrag:"):
            transports[-1].ice_ufrag = line[12:].strip()
        elif line.startswith("a=setup:"):
            transports[-1].setup = line[8:].strip()
        elif line.startswith("a=fingerprint:"):
            transports[-1].fingerprints.append(line[14:].strip())
        elif _SHAPE_LINE.match(line) or (line.startswith("a=extmap:") and (MID in line or PLAYOUT_DELAY in line)):
            kept.append(line)
    return "\r\n".join(kept + _h264_only(formats)) + "\r\n", transports


def _h264_only(lines: list[str]) -> list[str]:
    formats = [match for line in lines if (match := _FORMAT_LINE.fullmatch(line)) is not None]
    h264 = {m[2] for m in formats if m[1] == "rtpmap" and m[3].upper().startswith(f"H264/{CLOCK_RATE}")}
    retransmitting = {m[2] for m in formats if m[1] == "rtpmap" and m[3].lower() == f"rtx/{CLOCK_RATE}"}
    # RFC 4588, 8.6: apt names the payload type that is retransmitted.
    h264_rtx = {
        m[2]
        for m in formats
        if m[1] == "fmtp" and m[2] in retransmitting and (apt := _APT.search(m[3])) is not None and apt[1] in h264
    }
    kept = h264 | h264_rtx
    # RFC 6184's own examples have blanks between parameters, which aiortc would take for parts of their names.
    return [m[0].replace("; ", ";") for m in formats if m[2] in kept or (m[1] == "rtcp-fb" and m[2] == "*" and h264)]


# Browsers of one kind send offers of one shape: parsing it once saves half the CPU of reading an offer.
@lru_cache(maxsize=CACHED)
def _shape(essence: str) -> Shape:
    try:
        session = SessionDescription.parse(essence)
    # What aiortc's parser raises on lines that are no SDP.
    except (AssertionError, AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise NegotiationError("the text is not sound SDP") from error
    if not session.media:
        raise NegotiationError("the SDP has no media section")
    sections = tuple(_section(media) for media in session.media)
    group = next((group.items for group in session.group if group.semantic == "BUNDLE"), [])
    index = _receiving_video(session.media, group)
    media = session.media[index]
    if not media.rtcp_mux:
        raise NegotiationError("the SDP's video section lacks rtcp-mux")
    rtx = _rtx_payload_types(media.rtp.codecs)
    codecs = tuple(found for codec in media.rtp.codecs if (found := _codec(codec, rtx)) is not None)
    if not codecs:
        raise NoCommonCodecError("the SDP holds no H.264 in packetization-mode 1")
    mid = sections[index].mid
    bundled = bool(mid) and mid in group
    return Shape(
        sections=sections,
        video=index,
        bundle=tuple(i for i, section in enumerate(sections) if bundled and section.mid in group),
        codecs=codecs,
        # RFC 8285, 4.2: an element of a one-byte header holds 16 bytes at most.
        mid_extension=_extension(media, MID) if 0 < len(mid) <= 16 else None,
        playout_delay_extension=_extension(media, PLAYOUT_DELAY),
    )


def _section(media: MediaDescription) -> Section:
    # None where the attribute has no value.
    mid = media.rtp.muxId or ""
    if mid and not _TOKEN.fullmatch(mid):
        raise NegotiationError("the SDP has a mid that is no token")
    formats = tuple(str(fmt) for fmt in media.fmt)
    if not all(_TOKEN.fullmatch(text) for text in (media.kind, *formats)):
        raise NegotiationError("the SDP has a media line that is not sound")
    # RFC 3264, 6: which formats a rejected section lists is of no account. Some peers (Pion) take none that is not
    # static for one without its rtpmap.
    rejected = (REJECTED_FORMAT,) if "RTP/" in media.profile else formats
    return Section(media.kind, media.profile, rejected, mid)


def _receiving_video(sections: list[MediaDescription], bundle: list[str | int]) -> int:
    for index, media in enumerate(sections):
        # Port 0 is a rejected section, unless it is bundle-only, and only then in the group (RFC 8843, 7.1 and 7.3).
        open_ = media.port != 0 or media.rtp.muxId in bundle
        receives = media.direction in (None, "recvonly", "sendrecv")
        if media.kind == "video" and "SAVP" in media.profile and receives and open_:
            return index
    raise NegotiationError("the SDP has no video section that receives")


def _ice_ufrag(carriers: list[_Transport]) -> str:
    ufrag = next((transport.ice_ufrag for transport in carriers if transport.ice_ufrag), "")
    if not _ICE_UFRAG.fullmatch(ufrag):
        raise NegotiationError("the SDP has no sound ice-ufrag")
    return ufrag


def _fingerprints(carriers: list[_Transport]) -> tuple[RTCDtlsFingerprint, ...]:
    setup = next((transport.setup for transport in carriers if transport.setup), "")
    if setup not in ("actpass", "active"):
        raise NegotiationError("the SDP does not let the viewer be the DTLS client (setup:actpass or setup:active)")
    lines = next((transport.fingerprints for transport in carriers if transport.fingerprints), [])
    if len(lines) > FINGERPRINT_LIMIT:
        raise NegotiationError(f"the SDP has more than {FINGERPRINT_LIMIT} fingerprints")
    if not all(_FINGERPRINT.fullmatch(line) for line in lines):
        raise NegotiationError("the SDP has a fingerprint that is not sound")
    fingerprints = tuple(RTCDtlsFingerprint(*line.split(" ")) for line in lines)
    if not any(fingerprint.algorithm.lower() in X509_DIGEST_ALGORITHMS for fingerprint in fingerprints):
        raise NegotiationError("the SDP has no fingerprint of a known algorithm")
    return fingerprints


def _extension(media: MediaDescription, uri: str) -> int | None:
    # One-byte headers hold 1 to 14 (RFC 8285, 4.2).
    return next((x.id for x in media.rtp.headerExtensions if x.uri == uri and 1 <= x.id <= 14), None)


def _rtx_payload_types(codecs: Sequence[RTCRtpCodecParameters]) -> dict[int, int]:
    """Of retransmission, by the payload type that is retransmitted."""
    found: dict[int, int] = {}
    for codec in codecs:
        apt, payload_type = codec.parameters.get("apt"), codec.payloadType
        if codec.name.lower() == "rtx" and isinstance(apt, int) and payload_type is not None and payload_type <= 127:
            found.setdefault(apt, payload_type)
    return found


def _codec(codec: RTCRtpCodecParameters, rtx: Mapping[int, int]) -> Codec | None:
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
        # Nothing asks for retransmissions but NACK.
        rtx_payload_type=rtx.get(payload_type) if ("nack", None) in offered else None,
    )


@lru_cache(maxsize=CACHED)
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


def _candidates(addresses: MediaAddresses) -> list[RTCIceCandidate]:
    udp = [_candidate(*where) for where in enumerate(addresses.udp)]
    return udp + [_tcp_candidate(*where) for where in enumerate(addresses.tcp)]


def _rtx(payload_type: int, retransmitted: int) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(
        mimeType="video/rtx", clockRate=CLOCK_RATE, payloadType=payload_type, parameters={"apt": retransmitted}
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


def _tcp_candidate(index: int, address: tuple[str, int]) -> RTCIceCandidate:
    # RFC 6544, 4.2: passive ones have direction preference 4 in the upper three bits of the local preference. The type
    # preference is that of browsers: whatever way there is over UDP comes first, but for one through a TURN server.
    priority = (90 << 24) | ((4 << 13 | 8191 - index) << 8) | 255
    return RTCIceCandidate(
        component=1,
        foundation=f"t{index + 1}",
        ip=address[0],
        port=address[1],
        priority=priority,
        protocol="tcp",
        type="host",
        tcpType="passive",
    )
