"""The self-signed certificate: kept while it serves, made anew when it does not."""

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from pancar_cli.certificate import given, obtain

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_it_loads_and_is_kept(tmp_path: Path) -> None:
    first = obtain(tmp_path, ["192.0.2.1", "2001:db8::1"], NOW)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(first.certificate, first.key)
    assert first.self_signed
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    assert obtain(tmp_path, ["192.0.2.1"], NOW + datetime.timedelta(days=700)) == first
    assert given(first.certificate, first.key).fingerprint == first.fingerprint
    assert len(first.fingerprint) == 32 * 3 - 1


def test_it_is_made_anew_where_it_no_longer_serves(tmp_path: Path) -> None:
    first = obtain(tmp_path, ["192.0.2.1"], NOW)
    other = obtain(tmp_path, ["192.0.2.2"], NOW)
    assert other.fingerprint != first.fingerprint
    late = obtain(tmp_path, ["192.0.2.2"], NOW + datetime.timedelta(days=810))
    assert late.fingerprint != other.fingerprint
    late.key.unlink()
    assert obtain(tmp_path, ["192.0.2.2"], NOW + datetime.timedelta(days=810)).fingerprint != late.fingerprint


def test_a_given_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("nothing")
    with pytest.raises(ValueError, match="PEM"):
        given(path, path)
