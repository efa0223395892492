"""What `viewer.dtls` and `viewer.negotiate` rely on inside aiortc. A release that changes it fails here first."""

import inspect
from importlib.metadata import version

import pytest
from aiortc import RTCCertificate, RTCDtlsTransport
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80, X509_DIGEST_ALGORITHMS, State
from aiortc.sdp import SessionDescription


def test_the_release_is_the_one_that_was_read() -> None:
    assert version("aiortc").startswith("1.16.")


def test_the_handshake_may_be_driven_from_outside() -> None:
    transport = RTCDtlsTransport(None, [RTCCertificate.generateCertificate()])  # type: ignore[arg-type]
    assert transport._ssl is None
    assert transport._role == "auto"
    transport._set_role("server")
    assert transport._role == "server"
    assert transport._state is State.NEW
    assert transport._srtp_profiles


def test_the_identity_check_fails_by_state() -> None:
    source = inspect.getsource(RTCDtlsTransport._validate_peer_identity)
    assert "self._ssl.get_peer_certificate" in source
    assert "self._set_state(State.FAILED)" in source
    assert {"sha-256", "sha-384", "sha-512"} <= set(X509_DIGEST_ALGORITHMS)


def test_the_certificates_context_asks_for_the_peers() -> None:
    context = RTCCertificate.generateCertificate()._create_ssl_context(srtp_profiles=[SRTP_AEAD_AES_128_GCM])
    assert context.get_verify_mode() == 3  # VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT


@pytest.mark.parametrize(("profile", "sizes"), [(SRTP_AEAD_AES_128_GCM, (16, 12)), (SRTP_AES128_CM_SHA1_80, (16, 14))])
def test_keys_are_cut_as_rfc_5764_lays_them_out(profile: object, sizes: tuple[int, int]) -> None:
    assert (profile.key_length, profile.salt_length) == sizes  # type: ignore[attr-defined]
    key, salt = sizes
    material = bytes(range(2 * (key + salt)))
    first = material[:key] + material[2 * key : 2 * key + salt]
    assert profile.get_key_and_salt(material, 0) == first  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line",
    [
        "m=video",
        "a=group",
        "m=video 9 UDP/TLS/RTP/SAVPF 300",
        "m=video 9 X 97\na=fmtp:97 a=b",
        "m=video 9 X 1\na=setup:x",
    ],
)
def test_its_parser_raises_what_negotiate_catches(line: str) -> None:
    with pytest.raises((AssertionError, AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError)):
        SessionDescription.parse(line)
