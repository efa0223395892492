"""Keys and certificates of a relay: what is believed, and when the next one is asked for."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pancar_operator.authority import Authorities, Enrolled, Issuer, requested_key
from pancar_operator.model import Key as Name
from pancar_relay.certificates import Chain, Key, check_authorities
from pancar_relay.errors import CertificateError

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
RELAY = Enrolled("7f1c", Name("pancar", "kota"))


def certified(key: Key, authorities: Authorities) -> Chain:
    certificate = Issuer(authorities, lambda: NOW).relay(requested_key(key.request()), RELAY)
    return Chain.read(certificate, key)


def test_a_key_is_read_as_it_was_written() -> None:
    key = Key.make()
    assert Key.read(key.pem()).pem() == key.pem()
    assert "PRIVATE" not in repr(key)


def test_other_keys_are_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (b"", b"-----BEGIN PRIVATE KEY-----\n", pem):
        with pytest.raises(CertificateError):
            Key.read(wrong)


def test_a_certificate_is_believed_by_its_authority_alone() -> None:
    key, ours = Key.make(), Authorities.new(NOW)
    chain = certified(key, ours)
    assert chain.issued_by(ours.bundle)
    assert chain.issued_by(Authorities.new(NOW).bundle + ours.bundle)
    assert not chain.issued_by(Authorities.new(NOW).bundle)
    assert not chain.issued_by(b"")
    assert Chain.read(chain.pem(), key) == chain


def test_a_certificate_of_another_key_is_refused() -> None:
    chain = certified(Key.make(), Authorities.new(NOW))
    with pytest.raises(CertificateError, match="another key"):
        Chain.read(chain.pem(), Key.make())
    for wrong in (b"", b"certificate", chain.pem()[:-100]):
        with pytest.raises(CertificateError):
            Chain.read(wrong, Key.make())


def test_it_is_renewed_well_before_it_ends_and_not_by_all_at_once() -> None:
    chain = certified(Key.make(), Authorities.new(NOW))
    first, last = chain.renew_at(0.0), chain.renew_at(1.0)
    assert datetime.timedelta(hours=14) < first - NOW < last - NOW < datetime.timedelta(hours=17)
    assert last - first > datetime.timedelta(hours=1)
    assert not chain.expired(last)
    assert chain.expired(NOW + datetime.timedelta(hours=24, seconds=1))


def test_authorities_must_be_some() -> None:
    bundle = Authorities.new(NOW).bundle
    assert check_authorities(bundle) == bundle
    for wrong in (b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
        with pytest.raises(CertificateError):
            check_authorities(wrong)


def test_the_relays_own_certificate_serves_https_at_its_addresses() -> None:
    pair = Key.make().self_signed(["192.0.2.1", "2001:db8::1", "192.0.2.1"], NOW)
    names = x509.load_pem_x509_certificate(pair.certificates).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "2001:db8::1"]
    # OpenSSL reads it.
    ssl.create_default_context(cadata=pair.certificates.decode())
