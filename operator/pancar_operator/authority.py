"""The certificates of the control plane: who the operator is, and which relays it knows. `control`, `enrol` ask it.

The operator is its own certificate authority. It certifies itself under `channel.SERVER_NAME`, each relay under a URI
that names its pool and UID (the form is SPIFFE's), and believes nobody else. Certificates live for a day; an authority
lives for ten years and is followed by a new one that is published before it signs, so that all trust it by then.

No I/O here, and time comes from outside; `keys` keeps authorities in a Secret, `pancar up` in memory.
"""

import datetime
import ipaddress
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pancar_proto.channel import SERVER_NAME, Pair

from pancar_operator.model import Key

AUTHORITY_LIFE: Final = datetime.timedelta(days=3650)
# With so much left, the next authority is made.
AUTHORITY_OVERLAP: Final = datetime.timedelta(days=365)
CERTIFICATE_LIFE: Final = datetime.timedelta(hours=24)
# A new authority signs when every relay has had to renew its certificate, and got this authority with it.
PUBLISHED_BEFORE: Final = 2 * CERTIFICATE_LIFE
# What the clocks of two machines may differ by.
_SKEW: Final = datetime.timedelta(minutes=5)

_RELAY_URI: Final = re.compile(r"spiffe://pancar\.dev/pool/([a-z0-9.-]+)/([a-z0-9.-]+)/relay/([A-Za-z0-9-]+)")

Now = Callable[[], datetime.datetime]
# The operator's certificate with its key, and the authorities (PEM) it takes relays' certificates from.
Current = Callable[[], tuple[Pair, bytes]]


class Peer(NamedTuple):
    """Whom a relay's certificate names, and until when."""

    pool: Key
    uid: str
    not_after: datetime.datetime


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Whom a relay proved to be, and what its certificate is to say."""

    uid: str
    pool: Key
    # Its pod's name; empty where it has none.
    name: str = ""
    # IP addresses it serves HTTPS at.
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Authority:
    """One certificate authority (RFC 5280)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def new(cls, now: datetime.datetime) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        # Two authorities that are trusted at once must not bear the same name.
        name = _common_name(f"Pancar authority {serial:x}"[:64])
        certificate = (
            _builder(key.public_key(), key.public_key(), name, now, now + AUTHORITY_LIFE, serial)
            .subject_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    def certify(
        self,
        public: ec.EllipticCurvePublicKey,
        names: Iterable[x509.GeneralName],
        common_name: str,
        usages: Iterable[x509.ObjectIdentifier],
        now: datetime.datetime,
    ) -> bytes:
        """A certificate (PEM) for a day, or as long as the authority lives if that is less."""
        end = min(now + CERTIFICATE_LIFE, self.certificate.not_valid_after_utc)
        certificate = (
            _builder(public, self.key.public_key(), self.certificate.subject, now, end, x509.random_serial_number())
            .subject_name(_common_name(common_name))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Authorities:
    """All that are trusted, the oldest first, and at least one."""

    members: tuple[Authority, ...]

    @classmethod
    def new(cls, now: datetime.datetime) -> Self:
        return cls((Authority.new(now),))

    @classmethod
    def load(cls, certificates: bytes, keys: bytes) -> Self:
        """The inverse of `bundle` and `keys`. Raises ValueError for anything else, without saying what it was."""
        parsed = x509.load_pem_x509_certificates(certificates)
        privates = [_private_key(part) for part in re.findall(rb"-----BEGIN .*?-----END [^\n]*", keys, re.DOTALL)]
        if len(parsed) != len(privates):
            raise ValueError("there must be a key for each certificate, in the same order")
        for certificate, key in zip(parsed, privates, strict=True):
            if certificate.public_key() != key.public_key():
                raise ValueError("a key is not that of its certificate")
        members = [Authority(certificate, key) for certificate, key in zip(parsed, privates, strict=True)]
        return cls(tuple(sorted(members, key=lambda member: member.certificate.not_valid_before_utc)))

    @cached_property
    def bundle(self) -> bytes:
        """Their certificates (PEM)."""
        return b"".join(each.certificate.public_bytes(serialization.Encoding.PEM) for each in self.members)

    @cached_property
    def keys(self) -> bytes:
        """Their keys (PEM), in the order of the bundle."""
        return b"".join(_pem(each.key) for each in self.members)

    def signer(self, now: datetime.datetime) -> Authority:
        """The newest that has been published for long enough; the first one there was, where none has."""
        settled = [
            each for each in self.members if each.certificate.not_valid_before_utc + _SKEW + PUBLISHED_BEFORE <= now
        ]
        return (settled or self.members)[-1 if settled else 0]

    def renewed(self, now: datetime.datetime) -> Self:
        """Without those that have run out, and with a successor where the newest is about to; else the same object."""
        kept = tuple(each for each in self.members if now < each.certificate.not_valid_after_utc)
        if not kept or kept[-1].certificate.not_valid_after_utc - AUTHORITY_OVERLAP <= now:
            kept = (*kept, Authority.new(now))
        return self if kept == self.members else type(self)(kept)


class Issuer:
    """Signs with the authorities of the moment, and keeps the operator's own certificate fresh.

    `current` is called by gRPC's threads, everything else by the operator's loop.
    """

    def __init__(self, authorities: Authorities, now: Now) -> None:
        self._authorities = authorities
        self._now = now
        self._lock = threading.Lock()
        self._pair: Pair | None = None
        self._renew_at = now()

    @property
    def authorities(self) -> Authorities:
        return self._authorities

    @property
    def bundle(self) -> bytes:
        """Every authority that relays shall trust, PEM."""
        return self._authorities.bundle

    def take(self, authorities: Authorities) -> None:
        """Replaces the authorities; the operator has itself certified anew at the next connection."""
        with self._lock:
            self._authorities = authorities
            self._pair = None

    def current(self) -> tuple[Pair, bytes]:
        """The operator's certificate with its key, and what it takes relays' certificates from."""
        with self._lock:
            now = self._now()
            if self._pair is None or now >= self._renew_at:
                self._pair = self._operator(now)
                self._renew_at = now + CERTIFICATE_LIFE * 2 / 3
            return self._pair, self._authorities.bundle

    def relay(self, public: ec.EllipticCurvePublicKey, enrolled: Enrolled) -> bytes:
        """A relay's certificate (PEM): a client's towards the operator, a server's under its addresses for HTTPS.

        Raises ValueError for a pool or uid that cannot stand in it.
        """
        uid, pool = enrolled.uid, enrolled.pool
        uri = f"spiffe://pancar.dev/pool/{pool.namespace}/{pool.name}/relay/{uid}"
        if not _RELAY_URI.fullmatch(uri):
            raise ValueError("pool or uid cannot stand in a certificate")
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        if enrolled.name:
            # As the pool's headless Service names its pods.
            host = f"{enrolled.name}.{pool.name}.{pool.namespace}.svc"
            names += [x509.DNSName(host), x509.DNSName(f"{host}.cluster.local")]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(enrolled.addresses)]
        now = self._now()
        usages = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
        return self._authorities.signer(now).certify(public, names, uid[:64], usages, now)

    def _operator(self, now: datetime.datetime) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        names = (x509.DNSName(SERVER_NAME),)
        usages = (ExtendedKeyUsageOID.SERVER_AUTH,)
        certificate = self._authorities.signer(now).certify(key.public_key(), names, SERVER_NAME, usages, now)
        return Pair(certificate, _pem(key))


def peer(certificate: bytes) -> Peer:
    """Whom a certificate (PEM) that was verified already names. Raises ValueError for one that is no relay's."""
    parsed = x509.load_pem_x509_certificate(certificate)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("the certificate names nobody") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    match = _RELAY_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None:
        raise ValueError("the certificate is not a relay's")
    return Peer(Key(match[1], match[2]), match[3], parsed.not_valid_after_utc)


def requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate signing request (RFC 2986, DER) whose maker holds the private one.

    Raises ValueError for one that is none, is not signed by its own key, or is of another curve than P-256.
    """
    request = x509.load_der_x509_csr(csr)
    public = request.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ValueError("its key is not on the curve P-256")
    if not request.is_signature_valid:
        raise ValueError("it is not signed by its own key")
    return public


def _builder(
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    now: datetime.datetime,
    end: datetime.datetime,
    serial: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        # Said without its cause, which may quote the key.
        raise ValueError("a key is none of an elliptic curve") from None
    return key
