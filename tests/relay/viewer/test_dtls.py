"""The handshake against aiortc's own DTLS client, on a fake wire."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport, RTCIceTransport
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80, SRTPProtectionProfile
from OpenSSL import SSL
from pancar_relay.viewer.dtls import SRTP_PROFILES, Certificate, Handshake, HandshakeError, Keys
from rigs.waiting import eventually

CERTIFICATE = Certificate.generateCertificate()
PEER = RTCCertificate.generateCertificate()


class Wire(RTCIceTransport):
    """The client's ICE transport: what it sends goes straight into the handshake."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.deliver: Callable[[bytes], None] = lambda _datagram: None

    @property
    def role(self) -> str:
        return "controlling"

    async def _recv(self) -> bytes:
        return await self.arrived.get()

    async def _send(self, data: bytes) -> None:
        self.deliver(data)


class Client(RTCDtlsTransport):
    """aiortc's client, whose SRTP keys can be looked at."""

    def __init__(self, wire: Wire, profiles: list[SRTPProtectionProfile]) -> None:
        super().__init__(wire, [PEER])
        self._srtp_profiles = profiles
        self._set_role("client")

    def exported(self, profile: SRTPProtectionProfile) -> tuple[bytes, bytes]:
        """(client's, server's) key and salt, as the client sees them."""
        assert self._ssl is not None
        size = 2 * (profile.key_length + profile.salt_length)
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        return profile.get_key_and_salt(material, 0), profile.get_key_and_salt(material, 1)


async def shake(
    fingerprints: list[RTCDtlsFingerprint],
    profiles: list[SRTPProtectionProfile] = SRTP_PROFILES,
    lose: frozenset[int] = frozenset(),
) -> tuple[Keys, Client, Wire]:
    """Shakes hands, losing the server's datagrams of these numbers."""
    wire = Wire()
    sent = 0
    done: asyncio.Future[Keys] = asyncio.get_running_loop().create_future()

    def send(datagram: bytes) -> None:
        nonlocal sent
        if sent not in lose:
            wire.arrived.put_nowait(datagram)
        sent += 1

    handshake = Handshake(CERTIFICATE, fingerprints, send)

    def receive(datagram: bytes) -> None:
        try:
            keys = handshake.receive(datagram)
        except HandshakeError as error:
            done.set_exception(error)
            return
        if keys is not None:
            wire.deliver = lambda _datagram: None
            done.set_result(keys)
        elif (timeout := handshake.timeout()) is not None:
            asyncio.get_running_loop().call_later(timeout, handshake.resend)

    wire.deliver = receive
    client = Client(wire, profiles)
    start = asyncio.create_task(client.start(RTCDtlsParameters([CERTIFICATE.fingerprint()])))
    try:
        async with asyncio.timeout(10):
            keys = await done
            await start
        return keys, client, wire
    finally:
        start.cancel()


@pytest.mark.parametrize("profile", [SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80])
async def test_both_ends_hold_the_same_keys(profile: SRTPProtectionProfile) -> None:
    keys, client, _ = await shake(PEER.getFingerprints(), [profile])
    assert keys.profile == profile.openssl_profile.decode()
    assert client.exported(profile) == (keys.receive_key + keys.receive_salt, keys.send_key + keys.send_salt)
    assert (len(keys.send_key), len(keys.send_salt)) == (profile.key_length, profile.salt_length)
    await client.stop()


async def test_gcm_is_preferred() -> None:
    keys, client, _ = await shake(PEER.getFingerprints(), [SRTP_AES128_CM_SHA1_80, SRTP_AEAD_AES_128_GCM])
    assert keys.profile == "SRTP_AEAD_AES_128_GCM"
    await client.stop()


async def test_the_close_notify_kept_ends_the_clients_association() -> None:
    keys, client, wire = await shake(PEER.getFingerprints())
    assert client.state == "connected"
    wire.arrived.put_nowait(keys.close_notify)
    await eventually(lambda: client.state == "closed", "the client hears of the end")


async def test_what_is_kept_is_small() -> None:
    keys, client, _ = await shake(PEER.getFingerprints())
    assert (len(keys.last_flight), len(keys.close_notify)) == (75, 39)
    assert "send_key" not in repr(keys)
    await client.stop()


async def test_another_certificate_than_the_offers_gets_no_keys() -> None:
    stranger = RTCCertificate.generateCertificate()
    with pytest.raises(HandshakeError, match="certificate"):
        await shake(stranger.getFingerprints())


async def test_one_wrong_fingerprint_among_right_ones_gets_no_keys() -> None:
    stranger = RTCCertificate.generateCertificate()
    with pytest.raises(HandshakeError, match="certificate"):
        await shake([*PEER.getFingerprints(), stranger.getFingerprints()[0]])


async def test_a_lost_flight_is_sent_again() -> None:
    keys, client, _ = await shake(PEER.getFingerprints(), lose=frozenset({0}))
    assert client.exported(SRTP_AEAD_AES_128_GCM)[1] == keys.send_key + keys.send_salt
    await client.stop()


def records(flight: bytes) -> list[bytes]:
    """The DTLS records (RFC 6347, 4.1) of a flight."""
    found = []
    while flight:
        end = 13 + int.from_bytes(flight[11:13], "big")
        found.append(flight[:end])
        flight = flight[end:]
    return found


def test_a_hello_in_pieces_is_put_together_whatever_their_order() -> None:
    """As of browsers whose post-quantum key shares fill more than a datagram."""
    flights: list[bytes] = []
    handshake = Handshake(CERTIFICATE, PEER.getFingerprints(), flights.append)
    context = PEER._create_ssl_context(SRTP_PROFILES)
    context.set_alpn_protos([b"a" * 200 + bytes([digit]) for digit in b"01234567"])
    client = SSL.Connection(context)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    pieces = records(client.bio_read(4096))
    assert len(pieces) > 4
    assert [handshake.receive(piece) for piece in reversed(pieces)] == [None] * len(pieces)
    client.bio_write(flights.pop())
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    assert [handshake.receive(record) for record in records(client.bio_read(4096))][-1] is not None


def test_junk_is_the_viewers_fault_and_nothing_else() -> None:
    handshake = Handshake(CERTIFICATE, PEER.getFingerprints(), lambda _datagram: None)
    hello = bytes([22, 254, 253]) + bytes(8) + (60).to_bytes(2, "big") + bytes([1]) * 60
    with pytest.raises(HandshakeError):
        handshake.receive(hello)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
async def test_nothing_of_openssl_outlives_the_handshake() -> None:
    """100 KiB a viewer, were the session kept, even if only until the next collection."""
    sent: list[bytes] = []
    handshake = Handshake(CERTIFICATE, PEER.getFingerprints(), sent.append)
    connection = SSL.Connection(PEER._create_ssl_context(srtp_profiles=SRTP_PROFILES))
    connection.set_connect_state()
    keys = None
    while keys is None:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            keys = handshake.receive(connection.bio_read(1500))
            connection.bio_write(sent[-1])
    left = weakref.ref(handshake)
    del handshake
    assert left() is None


def test_one_context_serves_all_handshakes_and_keeps_no_sessions() -> None:
    context = CERTIFICATE._create_ssl_context(SRTP_PROFILES)
    assert CERTIFICATE._create_ssl_context(SRTP_PROFILES) is context
    assert context.get_session_cache_mode() == SSL.SESS_CACHE_OFF
