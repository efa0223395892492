"""Certificate authorities and what they certify, at times that the test sets; OpenSSL is the judge."""

import datetime
import subprocess
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pancar_operator.authority import (
    AUTHORITY_LIFE,
    AUTHORITY_OVERLAP,
    CERTIFICATE_LIFE,
    PUBLISHED_BEFORE,
    Authorities,
    Enrolled,
    Issuer,
    peer,
    requested_key,
)
from pancar_operator.model import Key
from pancar_proto.channel import SERVER_NAME

START = datetime.datetime(2026, 3, 1, tzinfo=UTC)
RELAY = Enrolled("0b1e", Key("video", "harbour"), "harbour-3", ("10.1.2.3", "fd00::3"))


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime.datetime:
        return self.now


def public() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "I am the operator")])
    return (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    )


def verified(folder: Path, certificate: bytes, bundle: bytes, at: datetime.datetime, *options: str) -> bool:
    """What `openssl verify` says of it."""
    (folder / "ca.pem").write_bytes(bundle)
    (folder / "it.pem").write_bytes(certificate)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(at.timestamp())), *options]
    command += ["-CAfile", str(folder / "ca.pem"), str(folder / "it.pem")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_relays_certificate_names_pool_uid_and_addresses(tmp_path: Path) -> None:
    issuer = Issuer(Authorities.new(START), lambda: START)
    certificate = issuer.relay(public(), RELAY)
    assert peer(certificate) == (RELAY.pool, RELAY.uid, START + CERTIFICATE_LIFE)
    for purpose in ("sslclient", "sslserver"):
        assert verified(tmp_path, certificate, issuer.bundle, START, "-purpose", purpose)
    for name in (
        ("-verify_ip", "10.1.2.3"),
        ("-verify_ip", "fd00::3"),
        ("-verify_hostname", "harbour-3.harbour.video.svc"),
    ):
        assert verified(tmp_path, certificate, issuer.bundle, START, *name)
    assert not verified(tmp_path, certificate, issuer.bundle, START, "-verify_hostname", SERVER_NAME)
    assert not verified(tmp_path, certificate, issuer.bundle, START + CERTIFICATE_LIFE + timedelta(seconds=1))
    assert verified(tmp_path, certificate, issuer.bundle, START - timedelta(minutes=4)), "clocks differ"


def test_the_operators_certificate_is_a_servers_and_no_relays(tmp_path: Path) -> None:
    issuer = Issuer(Authorities.new(START), lambda: START)
    pair, bundle = issuer.current()
    assert verified(
        tmp_path, pair.certificates, bundle, START, "-purpose", "sslserver", "-verify_hostname", SERVER_NAME
    )
    assert not verified(tmp_path, pair.certificates, bundle, START, "-purpose", "sslclient")
    with pytest.raises(ValueError, match="not a relay's"):
        peer(pair.certificates)
    with pytest.raises(ValueError, match="names nobody"):
        peer(bundle)


def test_no_certificate_of_another_authority_holds(tmp_path: Path) -> None:
    ours, theirs = (Issuer(Authorities.new(START), lambda: START) for _ in range(2))
    assert not verified(tmp_path, theirs.relay(public(), RELAY), ours.bundle, START)


def test_a_relay_certifies_nobody(tmp_path: Path) -> None:
    issuer = Issuer(Authorities.new(START), lambda: START)
    certificate = x509.load_pem_x509_certificate(issuer.relay(public(), RELAY))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_the_operators_certificate_is_renewed_at_two_thirds_of_its_life() -> None:
    clock = Clock()
    issuer = Issuer(Authorities.new(START), clock)
    first = issuer.current()
    clock.now = START + CERTIFICATE_LIFE * 2 / 3 - timedelta(seconds=1)
    assert issuer.current() == first
    clock.now += timedelta(seconds=1)
    assert issuer.current() != first


def test_an_authority_is_followed_by_another_that_is_trusted_before_it_signs(tmp_path: Path) -> None:
    clock = Clock()
    first = Authorities.new(START)
    assert first.renewed(START) is first
    due = clock.now = START + AUTHORITY_LIFE - AUTHORITY_OVERLAP
    assert first.renewed(due - timedelta(seconds=1)) is first
    both = first.renewed(due)
    assert len(both.members) == 2
    assert both.renewed(due) is both
    issuer = Issuer(both, clock)
    by_first = issuer.relay(public(), RELAY)
    assert verified(tmp_path, by_first, first.bundle, due), "who knows the old one alone is not shut out"
    clock.now = due + PUBLISHED_BEFORE
    by_second = issuer.relay(public(), RELAY)
    assert not verified(tmp_path, by_second, first.bundle, clock.now)
    assert verified(tmp_path, by_second, issuer.bundle, clock.now)
    later = START + AUTHORITY_LIFE
    assert both.renewed(later).members == both.members[1:], "what has run out is trusted no more"


def test_no_certificate_outlives_its_authority() -> None:
    end = START + AUTHORITY_LIFE
    issuer = Issuer(Authorities.new(START), lambda: end - timedelta(hours=1))
    assert peer(issuer.relay(public(), RELAY)).not_after == end


def test_new_authorities_take_effect_at_once(tmp_path: Path) -> None:
    issuer = Issuer(Authorities.new(START), lambda: START)
    issuer.current()
    other = Authorities.new(START)
    issuer.take(other)
    pair, bundle = issuer.current()
    assert bundle == other.bundle
    assert verified(tmp_path, pair.certificates, other.bundle, START)


def test_what_is_dumped_loads() -> None:
    authorities = Authorities.new(START).renewed(START + AUTHORITY_LIFE - AUTHORITY_OVERLAP)
    again = Authorities.load(authorities.bundle, authorities.keys)
    assert (again.bundle, again.keys) == (authorities.bundle, authorities.keys)
    assert "PRIVATE" not in repr(again)


@pytest.mark.parametrize("spoil", ["nothing", "no key", "another's key", "nonsense for a key", "nonsense"])
def test_what_belongs_not_together_is_refused(spoil: str) -> None:
    one, other = Authorities.new(START), Authorities.new(START)
    nonsense = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    certificates, keys = {
        "nothing": (b"", b""),
        "no key": (one.bundle, b""),
        "another's key": (one.bundle, other.keys),
        "nonsense for a key": (one.bundle, nonsense),
        "nonsense": (b"secret", b"secret"),
    }[spoil]
    with pytest.raises(ValueError, match=r".") as refused:
        Authorities.load(certificates, keys)
    assert "c2VjcmV0" not in str(refused.value)


def test_of_a_request_the_key_alone_counts() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert requested_key(csr(key)) == key.public_key()


GOOD = csr(ec.generate_private_key(ec.SECP256R1()))
WRONG = {
    "empty": b"",
    "cut": GOOD[:-10],
    "another curve": csr(ec.generate_private_key(ec.SECP384R1())),
    "rsa": csr(rsa.generate_private_key(65537, 2048)),
    "altered": GOOD.replace(b"operator", b"0perator"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        requested_key(wrong)


@pytest.mark.parametrize("uid", ["", "a/b", "a b", "ä"])
def test_a_name_that_could_be_read_two_ways_is_not_certified(uid: str) -> None:
    issuer = Issuer(Authorities.new(START), lambda: START)
    with pytest.raises(ValueError, match="cannot stand"):
        issuer.relay(public(), Enrolled(uid, Key("a", "b")))
