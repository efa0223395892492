"""The DTLS handshake of one viewer, as server, up to the keys that the engine seals media with.

`viewer.sessions` makes a `Handshake` per join, feeds it the engine's datagrams and drops it when it is over: OpenSSL
keeps about 100 KiB a session, and all that is needed later (keys, last flight, close_notify) fits in `Keys`.

aiortc's RTCDtlsTransport does the handshake; tests/relay/viewer/test_aiortc_contract.py pins what is used of it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport, RTCIceTransport
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80, SRTPProtectionProfile
from OpenSSL import SSL

# In order of preference: GCM is one pass over the packet, and needs no HMAC.
SRTP_PROFILES = [SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80]
# RFC 6347, 4.1. pyOpenSSL names no such constant.
DTLS_1_2 = 0xFEFD
# Datagrams a peer may have waiting here; a flight is at most a handful.
BACKLOG = 16


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


class _Ice:
    """What RTCDtlsTransport asks of an ICE transport: datagrams in and out. The engine does ICE itself."""

    role = "controlled"
    state = "completed"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._deliver = send
        self._waiting: deque[bytes] = deque(maxlen=BACKLOG)
        self._wakeup: asyncio.Future[None] | None = None
        self._closed = False
        self.last_sent = b""

    def receive(self, datagram: bytes) -> None:
        self._waiting.append(datagram)
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _recv(self) -> bytes:
        while not self._closed:
            if self._waiting:
                return self._waiting.popleft()
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup
        raise ConnectionError

    async def _send(self, datagram: bytes) -> None:
        self.last_sent = datagram
        self._deliver(datagram)


class _Transport(RTCDtlsTransport):
    """Exports the keys instead of building libsrtp sessions, then reads no further."""

    def __init__(self, ice: _Ice, certificate: Certificate) -> None:
        super().__init__(cast(RTCIceTransport, ice), [certificate])
        self._ice = ice
        self._srtp_profiles = SRTP_PROFILES
        self._set_role("server")
        self.keys: Keys | None = None

    def _setup_srtp(self) -> None:
        # Closed now, so that aiortc's reader, which follows, ends at once.
        self._ice.close()
        assert self._ssl is not None  # noqa: S101 - start() made it; for the type checker
        name = self._ssl.get_selected_srtp_profile()
        profile = next((p for p in self._srtp_profiles if p.openssl_profile == name), None)
        if profile is None:
            return
        # RFC 5764, 4.2: client key, server key, client salt, server salt.
        material = self._ssl.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        received, sent = (profile.get_key_and_salt(material, index) for index in (0, 1))
        self.keys = Keys(
            profile=name.decode(),
            send_key=sent[: profile.key_length],
            send_salt=sent[profile.key_length :],
            receive_key=received[: profile.key_length],
            receive_salt=received[profile.key_length :],
            last_flight=self._ice.last_sent,
            close_notify=self._close_notify(self._ssl),
        )

    @staticmethod
    def _close_notify(ssl: SSL.Connection) -> bytes:
        """The alert that ends the association, made now and sent whenever the viewer goes."""
        ssl.shutdown()
        return ssl.bio_read(1500)


class Handshake:
    """Driving contract: `receive` each datagram of the viewer, await `keys()` once, `close` at the latest when it is
    to be given up."""

    def __init__(self, certificate: Certificate, send: Callable[[bytes], None]) -> None:
        self._ice = _Ice(send)
        self._certificate = certificate

    def receive(self, datagram: bytes) -> None:
        """Takes a datagram; beyond `BACKLOG` waiting ones the oldest are dropped, and DTLS resends."""
        if datagram:
            self._ice.receive(datagram)

    def close(self) -> None:
        self._ice.close()

    async def keys(self, fingerprints: list[RTCDtlsFingerprint]) -> Keys | None:
        """Shakes hands with a peer whose certificate must match `fingerprints` (RFC 8122). None when that fails, no
        SRTP profile is in common, or `close` came first."""
        transport = _Transport(self._ice, self._certificate)
        await transport.start(RTCDtlsParameters(fingerprints=fingerprints))
        return transport.keys
