"""The certificate that HTTPS is served with; `up` calls `obtain` where it listens beyond loopback.

The one that was given, else a self-signed one, made at the first start and kept in the state folder. Viewers compare
its fingerprint once.
"""

import datetime
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pancar_operator.access import write_private

# What browsers accept of a certificate one trusts by hand.
_VALID: Final = datetime.timedelta(days=825)
_RENEW_BEFORE: Final = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate and its key, and the SHA-256 fingerprint as browsers show it."""

    certificate: Path
    key: Path
    fingerprint: str
    self_signed: bool


def given(certificate: Path, key: Path) -> Certificate:
    """The certificate that was given. Raises ValueError where the file holds none, OSError where it cannot be read."""
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    return Certificate(certificate, key, _fingerprint(parsed), self_signed=False)


def obtain(folder: Path, addresses: Iterable[str], now: datetime.datetime) -> Certificate:
    """The self-signed certificate in `folder`, made anew where it is missing, expires soon or lacks an address."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    wanted = {ipaddress.ip_address(address) for address in addresses}
    present = _load(certificate) if key.exists() else None
    if present is None or not _serves(present, wanted, now):
        present = _make(certificate, key, wanted, now)
    return Certificate(certificate, key, _fingerprint(present), self_signed=True)


def _load(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _serves(
    certificate: x509.Certificate,
    wanted: set[ipaddress.IPv4Address | ipaddress.IPv6Address],
    now: datetime.datetime,
) -> bool:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    named = set(names.get_values_for_type(x509.IPAddress))
    return wanted <= named and now < certificate.not_valid_after_utc - _RENEW_BEFORE


def _make(
    path: Path,
    key_path: Path,
    addresses: set[ipaddress.IPv4Address | ipaddress.IPv6Address],
    now: datetime.datetime,
) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pancar")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    if host.isascii() and host != "localhost":
        names.append(x509.DNSName(host))
    names.extend(x509.IPAddress(address) for address in sorted(addresses, key=str))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(key_path, private)
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
