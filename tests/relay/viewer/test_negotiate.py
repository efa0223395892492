"""Offers and answers, without a network."""

import pytest
from aiortc.sdp import MediaDescription, SessionDescription
from hypothesis import given
from hypothesis import strategies as st
from pancar_relay.desired import MediaAddresses
from pancar_relay.errors import NegotiationError, NoCommonCodecError
from pancar_relay.viewer.negotiate import MEDIA_LIMIT, OFFER_LIMIT, Codec, Local, Offer, answer, choose, read_offer

FINGERPRINT = ":".join(["AB"] * 32)
LOCAL = Local(
    media=MediaAddresses(
        udp=(("192.0.2.10", 40000), ("2001:db8::10", 40000)), tcp=(("192.0.2.10", 40001), ("2001:db8::10", 40001))
    ),
    fingerprint=f"sha-256 {FINGERPRINT}",
    ice_ufrag="abcdefgh",
    ice_pwd="p" * 32,
    ssrc=3_000_000_000,
    rtx_ssrc=3_000_000_001,
    cname="cname",
)
VIDEO = f"""m=video 9 UDP/TLS/RTP/SAVPF 96 97 98
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:frag
a=ice-pwd:0123456789012345678901
a=ice-options:trickle
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
a=mid:0
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=recvonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtpmap:97 H264/90000
a=rtcp-fb:97 goog-remb
a=rtcp-fb:97 ccm fir
a=rtcp-fb:97 nack
a=rtcp-fb:97 nack pli
a=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:98 rtx/90000
a=fmtp:98 apt=97
"""
AUDIO = VIDEO.replace("m=video 9", "m=audio 9").replace("a=mid:0", "a=mid:a")
SESSION = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0\n"


def offer(video: str = VIDEO, session: str = SESSION) -> str:
    return (session + video).replace("\n", "\r\n")


def answered(text: str, profile: str = "42e01f") -> tuple[Offer, SessionDescription, MediaDescription]:
    """The answer as another implementation reads it, and its video section."""
    read = read_offer(text)
    session = SessionDescription.parse(answer(read, choose(read.shape.codecs, profile), LOCAL))
    return read, session, session.media[read.shape.video]


def test_the_video_section_is_accepted() -> None:
    read, session, video = answered(offer())
    assert (read.ice_ufrag, [f.value for f in read.fingerprints]) == ("frag", [FINGERPRINT])
    assert (video.direction, video.rtp.muxId, video.rtcp_mux) == ("sendonly", "0", True)
    assert [codec.payloadType for codec in video.rtp.codecs] == [97, 98]
    assert video.rtp.codecs[0].parameters == {
        "level-asymmetry-allowed": "1",
        "packetization-mode": "1",
        "profile-level-id": "42e01f",
    }
    feedback = {(f.type, f.parameter) for f in video.rtp.codecs[0].rtcpFeedback}
    assert feedback == {("nack", None), ("nack", "pli"), ("ccm", "fir")}
    assert {(x.id, x.uri.rpartition(":")[2].rpartition("/")[2]) for x in video.rtp.headerExtensions} == {
        (4, "mid"),
        (5, "playout-delay"),
    }
    assert [(group.semantic, group.items) for group in session.group] == [("BUNDLE", ["0"])]


def test_the_relay_is_ice_lite_and_the_dtls_server() -> None:
    _, session, video = answered(offer())
    assert "a=ice-lite\r\n" in str(session)
    assert video.ice is not None
    assert video.dtls is not None
    assert (video.ice.usernameFragment, video.ice.password) == (LOCAL.ice_ufrag, LOCAL.ice_pwd)
    assert (video.dtls.role, video.dtls.fingerprints[0].value) == ("server", FINGERPRINT)
    assert video.ice_candidates_complete
    assert [(c.ip, c.port, c.protocol, c.type, c.tcpType) for c in video.ice_candidates] == [
        ("192.0.2.10", 40000, "udp", "host", None),
        ("2001:db8::10", 40000, "udp", "host", None),
        ("192.0.2.10", 40001, "tcp", "host", "passive"),
        ("2001:db8::10", 40001, "tcp", "host", "passive"),
    ]
    priorities = [candidate.priority for candidate in video.ice_candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    # RFC 6544, 4.2: the direction preference of passive candidates is 4.
    assert [priority >> 21 & 7 for priority in priorities[2:]] == [4, 4]
    assert len({candidate.foundation for candidate in video.ice_candidates}) == 4
    assert [(s.ssrc, s.cname) for s in video.ssrc] == [(LOCAL.ssrc, LOCAL.cname), (LOCAL.rtx_ssrc, LOCAL.cname)]


def test_every_other_section_is_rejected_in_place() -> None:
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:d\na=sctp-port:5000\n"
    session = SESSION.replace("BUNDLE 0", "BUNDLE a 0 d")
    read, answer_, _ = answered(offer(AUDIO + VIDEO + data, session))
    assert read.shape.video == 1
    assert [(m.kind, m.port == 0, m.rtp.muxId) for m in answer_.media] == [
        ("audio", True, "a"),
        ("video", False, "0"),
        ("application", True, "d"),
    ]
    assert [m.direction for m in answer_.media] == ["inactive", "sendonly", "inactive"]
    assert answer_.group[0].items == ["0"]
    assert [m.fmt for m in answer_.media[::2]] == [[0], ["webrtc-datachannel"]]


def test_a_bundle_only_section_uses_the_transport_of_its_group() -> None:
    lines = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
    bare = "".join(f"{line}\n" for line in VIDEO.splitlines() if not line.startswith(lines))
    bundle_only = bare.replace("m=video 9", "m=video 0") + "a=bundle-only\n"
    read = read_offer(offer(AUDIO + bundle_only, SESSION.replace("BUNDLE 0", "BUNDLE a 0")))
    assert (read.shape.video, read.ice_ufrag) == (1, "frag")


def test_a_mid_without_a_value_is_none() -> None:
    read, _, video = answered(offer(VIDEO.replace("a=mid:0", "a=mid")))
    assert (read.shape.mid, read.shape.mid_extension, video.rtp.muxId) == ("", None, "")


def test_a_rejected_video_section_is_passed_over() -> None:
    rejected = VIDEO.replace("m=video 9", "m=video 0").replace("a=mid:0", "a=mid:x")
    assert read_offer(offer(rejected + VIDEO)).shape.video == 1


def test_attributes_of_the_session_hold_for_its_sections() -> None:
    own = ("a=ice-ufrag", "a=fingerprint", "a=setup")
    bare = "".join(f"{line}\n" for line in VIDEO.splitlines() if not line.startswith(own))
    session = SESSION + f"a=ice-ufrag:whole\na=fingerprint:sha-256 {FINGERPRINT}\na=setup:active\n"
    assert read_offer(offer(bare, session)).ice_ufrag == "whole"


def codec(profile_level_id: str, payload_type: int = 96) -> Codec:
    return Codec(payload_type, profile_level_id, True, ())


@pytest.mark.parametrize(
    ("stream", "offered", "chosen"),
    [
        ("64001f", ["42001f", "42e01f", "4d001f", "64001f"], "64001f"),
        ("640028", ["42e01f", "64001f"], "64001f"),  # another level of the same profile
        ("64001f", ["42001f", "42e01f"], "42e01f"),
        ("4d401e", ["42001f"], "42001f"),
        ("42c01e", ["42001f", "42e01f"], "42e01f"),  # both are Constrained Baseline
        ("42001e", ["42e01f", "42001f"], "42001f"),
        ("42e01f", ["64001f", "4d001f"], "64001f"),
        ("zzzzzz", ["42e01f"], "42e01f"),
    ],
)
def test_the_profile_sent_as(stream: str, offered: list[str], chosen: str) -> None:
    assert choose([codec(profile) for profile in offered], stream).profile_level_id == chosen


def test_the_offered_profile_level_id_is_echoed_as_it_was_written() -> None:
    _, _, video = answered(offer(VIDEO.replace("42e01f", "42E034")), "42c01e")
    assert video.rtp.codecs[0].parameters["profile-level-id"] == "42E034"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("packetization-mode=1", "packetization-mode=0"), ("packetization-mode=1;", ""), ("H264/90000", "H265/90000")],
)
def test_an_offer_without_h264_in_mode_1_has_nothing_in_common(wrong: str, right: str) -> None:
    with pytest.raises(NoCommonCodecError):
        read_offer(offer(VIDEO.replace(wrong, right)))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("a=rtcp-mux\n", ""),
        ("a=mid:0", "a=mid:\0"),
        ("a=recvonly", "a=sendonly"),
        ("a=recvonly", "a=inactive"),
        ("a=setup:actpass", "a=setup:passive"),
        ("a=setup:actpass\n", ""),
        ("a=ice-ufrag:frag\n", ""),
        ("a=ice-ufrag:frag", "a=ice-ufrag:f"),
        ("a=ice-ufrag:frag", "a=ice-ufrag:f\0rag"),
        ("a=fingerprint:sha-256", "a=fingerprint:md5"),
        (FINGERPRINT, "AB:CD"),
        ("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 RTP/AVP"),
        ("m=video 9", "m=audio 9"),
        ("m=video 9", "m=video"),
        ("m=video 9", "m=video x"),
        ("96 97 98", "96 97 900"),
        ("96 97 98", "96 97 72"),
        ("a=mid:0", "a=mid:a b"),
        ("a=extmap:4 urn", "a=extmap:four urn"),
        ("a=extmap:4 urn", "a=extmap:4urn"),
        ("H264/90000", "H264/90000x"),
    ],
)
def test_an_unsound_offer_is_refused(wrong: str, right: str) -> None:
    assert wrong in VIDEO
    with pytest.raises(NegotiationError):
        read_offer(offer(VIDEO.replace(wrong, right)))


def test_limits() -> None:
    with pytest.raises(NegotiationError, match="larger"):
        read_offer(offer() + "a=x\r\n" * OFFER_LIMIT)
    with pytest.raises(NegotiationError, match="media sections"):
        read_offer(offer("m=audio 9 UDP/TLS/RTP/SAVPF 0\n" * (MEDIA_LIMIT + 1)))
    with pytest.raises(NegotiationError, match="fingerprints"):
        read_offer(offer(VIDEO + f"a=fingerprint:sha-256 {FINGERPRINT}\n" * 20))


def test_retransmissions_are_a_stream_of_their_own_where_offered() -> None:
    read, _, video = answered(offer())
    assert read.shape.codecs[0].rtx_payload_type == 98
    assert (video.fmt, video.rtp.codecs[1].name, video.rtp.codecs[1].parameters) == ([97, 98], "rtx", {"apt": 97})
    # RFC 5576, 4.2; RFC 4588, 8.5.
    assert [(g.semantic, g.items) for g in video.ssrc_group] == [("FID", [LOCAL.ssrc, LOCAL.rtx_ssrc])]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("a=rtpmap:98 rtx/90000\n", ""),
        ("apt=97", "apt=96"),
        ("apt=97", "apt=x"),
        ("a=fmtp:98 apt=97\n", ""),
        ("a=rtcp-fb:97 nack\n", ""),
    ],
)
def test_what_was_lost_is_sent_again_as_it_was_where_nothing_else_is_offered(wrong: str, right: str) -> None:
    read, _, video = answered(offer(VIDEO.replace(wrong, right)))
    assert read.shape.codecs[0].rtx_payload_type is None
    assert (video.fmt, len(video.rtp.codecs), video.ssrc_group) == ([97], 1, [])
    assert [s.ssrc for s in video.ssrc] == [LOCAL.ssrc]


def test_each_payload_type_has_its_own_retransmissions() -> None:
    second = VIDEO.replace("96 97 98", "96 97 98 99 100") + (
        "a=rtpmap:99 H264/90000\na=rtcp-fb:99 nack\n"
        "a=fmtp:99 packetization-mode=1;profile-level-id=640028\n"
        "a=rtpmap:100 rtx/90000\na=fmtp:100 apt=99;rtx-time=3000\n"
    )
    _, _, video = answered(offer(second), profile="640028")
    assert (video.fmt, video.rtp.codecs[1].parameters) == ([99, 100], {"apt": 99})


def test_an_extension_that_a_one_byte_header_cannot_hold_is_left_out() -> None:
    shape = read_offer(offer(VIDEO.replace("a=extmap:4 ", "a=extmap:15 "))).shape
    assert (shape.mid_extension, shape.playout_delay_extension) == (None, 5)


def test_parameters_may_have_blanks_between_them() -> None:
    assert read_offer(offer(VIDEO.replace("=1;", "=1; "))).shape.codecs[0].profile_level_id == "42e01f"


def test_an_extension_that_is_none_of_ours_may_look_as_it_likes() -> None:
    odd = "a=extmap:3/recvonly urn:ietf:params:rtp-hdrext:encrypt urn:ietf:params:rtp-hdrext:toffset 7\na=extmap:x\n"
    assert read_offer(offer(VIDEO + odd)).shape.mid_extension == 4


def test_two_offers_of_one_shape_keep_what_is_their_own() -> None:
    first = read_offer(offer())
    second = read_offer(offer(VIDEO.replace(":frag", ":other").replace("m=video 9", "m=video 50123")))
    assert first.shape is second.shape
    assert (first.ice_ufrag, second.ice_ufrag) == ("frag", "other")


LINES = st.lists(st.sampled_from(offer(AUDIO + VIDEO).split("\r\n")), max_size=60).map("\r\n".join)


@given(st.one_of(st.text(max_size=400), LINES))
def test_junk_is_refused_by_one_error(text: str) -> None:
    try:
        read = read_offer(text)
    except NegotiationError:
        return
    SessionDescription.parse(answer(read, choose(read.shape.codecs, "42e01f"), LOCAL))


@given(st.data())
def test_a_damaged_offer_is_refused_by_one_error(data: st.DataObject) -> None:
    text = offer(AUDIO + VIDEO)
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.text(max_size=4)) + text[at + data.draw(st.integers(0, 8)) :]
    try:
        read = read_offer(damaged)
    except NegotiationError:
        return
    reply = answer(read, choose(read.shape.codecs, "42e01f"), LOCAL)
    assert len(SessionDescription.parse(reply).media) == len(read.shape.sections)
