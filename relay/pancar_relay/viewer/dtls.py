"""The DTLS handshake of one viewer, as server, up to the keys that the engine seals media with.

`viewer.sessions` makes a `Handshake` per join, feeds it the engine's datagrams and drops it when it is over: OpenSSL
keeps about 100 KiB a session, and all that is needed later (keys, last flight, close_notify) fits in `Keys`.

Built on aiortc's RTCDtlsTransport; tests/relay/viewer/test_aiortc_contract.py pins what is used of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport, RTCIceTransport
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80, SRTPProtectionProfile, State
from OpenSSL import SSL

from pancar_relay.errors import RelayError

# In order of preference: GCM is one pass over the packet, and needs no HMAC.
SRTP_PROFILES = [SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80]
# RFC 6347, 4.1. pyOpenSSL names no such constant.
DTLS_1_2 = 0xFEFD
# A whole flight of ours fits: with an ECDSA certificate the largest is about 700 bytes.
DATAGRAM = 1500


@dataclass(frozen=True, slots=True)
class Keys:
    """What outlives the handshake: `Engine.start_media` takes exactly this."""

    profile: str
    send_key: bytes = field(repr=False)
    send_salt: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    receive_salt: bytes = field(repr=False)
    last_flight: bytes = field(repr=False)
    close_notify: bytes = field(repr=False)


class Certificate(RTCCertificate):
    """The one certificate of a relay process, with one SSL context for all its handshakes."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            context = super()._create_ssl_context(srtp_profiles)
            # DTLS 1.3 would resend its last flight in answer to ACKs, which the engine cannot.
            context.set_min_proto_version(DTLS_1_2)
            context.set_max_proto_version(DTLS_1_2)
            # The context is shared: without this every session ever made would stay in its cache.
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            self._context = context
        return self._context

    def fingerprint(self) -> RTCDtlsFingerprint:
        """The SHA-256 one, which every browser takes."""
        return next(f for f in self.getFingerprints() if f.algorithm == "sha-256")


class HandshakeError(RelayError):
    """The peer's DTLS is not sound, is not of the certificate its offer named, or shares no SRTP profile."""


class Handshake(RTCDtlsTransport):
    """Driving contract: `receive` each datagram of the viewer until it returns the keys or raises HandshakeError; call
    `resend` whenever `timeout()` seconds pass before that. What is to be sent goes to `send`, a datagram a call.

    RTCDtlsTransport's own `start` would drive it as a task, with a future for each datagram: twice the CPU (1.1 ms
    where this takes 0.56), in the one loop that all joins share.
    """

    def __init__(
        self, certificate: Certificate, fingerprints: list[RTCDtlsFingerprint], send: Callable[[bytes], None]
    ) -> None:
        # It reads and writes through no ICE transport: the engine does ICE.
        super().__init__(cast(RTCIceTransport, None), [certificate])
        self._set_role("server")
        self._srtp_profiles = SRTP_PROFILES
        self._peer = RTCDtlsParameters(fingerprints=fingerprints)
        self._deliver = send
        self._last_flight = b""
        self._keys: Keys | None = None
        self._connection = self._ssl = SSL.Connection(certificate._create_ssl_context(SRTP_PROFILES))
        self._connection.set_accept_state()

    def receive(self, datagram: bytes) -> Keys | None:
        """Takes a datagram; returns the keys when it completes the handshake."""
        if not datagram:
            return None
        try:
            return self._step(datagram)
        # A ValueError is cryptography's, of a certificate that is no sound X.509.
        except (SSL.Error, ValueError) as error:
            raise HandshakeError(f"DTLS failed: {error}") from error

    def _step(self, datagram: bytes) -> Keys | None:
        self._connection.bio_write(datagram)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return None
        self._flush()
        # RFC 8122: before a single key leaves here, the certificate must be the one the offer named.
        self._validate_peer_identity(self._peer)
        if self._state is State.FAILED:
            raise HandshakeError("the certificate is not the one that the offer named")
        self._setup_srtp()
        return self._keys

    def timeout(self) -> float | None:
        """Seconds until `resend` is due; None while nothing waits for an answer."""
        return self._connection.DTLSv1_get_timeout()

    def resend(self) -> None:
        """Sends the last flight again, if it is time to (RFC 6347, 4.2.4)."""
        self._connection.DTLSv1_handle_timeout()
        self._flush()

    def _setup_srtp(self) -> None:
        name = self._connection.get_selected_srtp_profile()
        profile = next((p for p in self._srtp_profiles if p.openssl_profile == name), None)
        if profile is None:
            raise HandshakeError("no SRTP profile in common")
        # RFC 5764, 4.2: client key, server key, client salt, server salt.
        material = self._connection.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        received, sent = (profile.get_key_and_salt(material, index) for index in (0, 1))
        self._keys = Keys(
            profile=name.decode(),
            send_key=sent[: profile.key_length],
            send_salt=sent[profile.key_length :],
            receive_key=received[: profile.key_length],
            receive_salt=received[profile.key_length :],
            last_flight=self._last_flight,
            close_notify=self._close_notify(),
        )

    def _close_notify(self) -> bytes:
        """The alert that ends the association, made now and sent whenever the viewer goes."""
        self._connection.shutdown()
        return self._connection.bio_read(DATAGRAM)

    def _flush(self) -> None:
        try:
            flight = self._connection.bio_read(DATAGRAM)
        except SSL.WantReadError:
            return
        self._last_flight = flight
        self._deliver(flight)
