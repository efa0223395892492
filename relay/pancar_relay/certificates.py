"""The relay's key and certificates: made, asked for, read and judged. Pure but for randomness; for `enrol`, `https`.

One key serves for a process's life: its certificate for the operator's eyes is renewed, and the same chain is what
HTTPS is served with. Until the operator has given one, HTTPS is served with a certificate the relay signs itself.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pancar_proto.channel import Pair

from pancar_relay.errors import CertificateError

# Of its life a certificate is renewed between these, so that the relays of a pool do not all come at once.
RENEW = (0.60, 0.67)
SELF_SIGNED_DAYS = 825


@dataclass(frozen=True, slots=True)
class Key:
    """An ECDSA key on P-256."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> "Key":
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def read(cls, pem: bytes) -> "Key":
        """Raises CertificateError for anything but such a key."""
        try:
            private = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError("it is no private key") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise CertificateError("it is no key on P-256")
        return cls(private)

    def pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def request(self) -> bytes:
        """A signing request (RFC 2986), DER. It names nothing: the operator does."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self.private, hashes.SHA256()).public_bytes(Encoding.DER)

    def self_signed(self, addresses: Iterable[str], now: datetime.datetime) -> Pair:
        """A certificate for HTTPS at these IP addresses that nobody vouches for."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pancar relay")])
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.private, hashes.SHA256())
        )
        return Pair(certificate.public_bytes(Encoding.PEM), self.pem())


@dataclass(frozen=True, slots=True)
class Chain:
    """The operator's word that this relay is what it says, its own certificate first."""

    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def read(cls, pem: bytes, key: Key) -> "Chain":
        """Raises CertificateError where it holds no certificate, or first one of another key."""
        try:
            certificates = tuple(x509.load_pem_x509_certificates(pem))
            bound = _public(certificates[0]) == _public(key.private)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CertificateError("it is no certificate in PEM") from error
        if not bound:
            raise CertificateError("it is a certificate of another key")
        return cls(certificates)

    def pem(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)

    def issued_by(self, authorities: bytes) -> bool:
        """Whether one of `authorities` (PEM) vouches for it; nobody does where they are unreadable."""
        try:
            trusted = x509.load_pem_x509_certificates(authorities)
        except ValueError:
            return False
        return any(_issued(self.certificates[-1], authority) for authority in trusted)

    @property
    def not_after(self) -> datetime.datetime:
        return self.certificates[0].not_valid_after_utc

    def expired(self, now: datetime.datetime) -> bool:
        return now >= self.not_after

    def renew_at(self, jitter: float) -> datetime.datetime:
        """When to ask for the next one; `jitter` is 0 to 1."""
        begins = self.certificates[0].not_valid_before_utc
        return begins + (self.not_after - begins) * (RENEW[0] + (RENEW[1] - RENEW[0]) * jitter)


def check_authorities(pem: bytes) -> bytes:
    """`pem`, if it is certificates; raises CertificateError otherwise, for without any nobody could be trusted."""
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError("it holds no certificate in PEM") from error
    return pem


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate == authority:
        return True
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _public(holder: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
