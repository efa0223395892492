"""Keys, tokens and one-time links as they stand in a state folder."""

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from pancar_operator.access import AUDIENCE, ISSUER, Entry, Right


def verified(entry: Entry, token: str) -> dict[str, object]:
    (key,) = entry.access().keys
    assert jwt.get_unverified_header(token)["kid"] == key.kid
    claims: dict[str, object] = jwt.decode(token, key.pem, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
    return claims


def test_a_token_says_who_may_do_what_how_long(tmp_path: Path) -> None:
    entry = Entry(tmp_path)
    right = Right("police", ("kota/*", "desa/gate"), ("watch", "metrics"), lifetime=60)
    claims = verified(entry, entry.mint(right))
    assert claims["sub"] == "police"
    assert claims["cameras"] == ["kota/*", "desa/gate"]
    assert claims["scope"] == "watch metrics"
    assert claims["exp"] == claims["iat"] + 60  # type: ignore[operator]
    assert claims["jti"] != verified(entry, entry.mint(right))["jti"]


def test_the_key_id_is_its_thumbprint(tmp_path: Path) -> None:
    (key,) = Entry(tmp_path).access().keys
    public = serialization.load_pem_public_key(key.pem.encode())
    assert isinstance(public, EllipticCurvePublicKey)
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public))
    # RFC 7638, 3.2: the required members of an EC key, in this order and without spaces.
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    assert jwt.utils.base64url_decode(key.kid) == sha256(canonical.encode()).digest()


def test_the_key_stays_and_is_private(tmp_path: Path) -> None:
    first = Entry(tmp_path)
    token = first.mint(Right("a"))
    second = Entry(tmp_path)
    assert verified(second, token)["sub"] == "a"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_many_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda _: Entry(tmp_path), range(8)))
    assert len({entry.access().keys for entry in entries}) == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["signing-key.pem"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Entry(tmp_path)
    (tmp_path / "signing-key.pem").chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        Entry(tmp_path)


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing-key.pem"
    path.touch(0o600)
    path.write_text("no key")
    with pytest.raises(ValueError, match="no ES256 key"):
        Entry(tmp_path)


def test_a_link_waits_for_its_code_until_its_time_is_over(tmp_path: Path) -> None:
    entry = Entry(tmp_path)
    now = time.time()
    code = entry.add_link(Right("wall", lifetime=3600), seconds=900, now=now)
    (link,) = Entry(tmp_path).access(now=now + 899).links
    assert link.code_sha256 == sha256(code.encode()).digest()
    assert link.not_after == int(now) + 900
    assert verified(entry, link.token)["sub"] == "wall"
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert code.encode() not in everything, "who reads the folder cannot enter"
    assert link.token not in repr(link)
    assert entry.access(now=now + 900).links == ()
    assert Entry(tmp_path).access(now=now).links == (), "gone for good"


def test_a_used_link_is_gone_for_good(tmp_path: Path) -> None:
    entry = Entry(tmp_path)
    used, other = entry.add_link(Right("a")), entry.add_link(Right("b"))
    entry.forget_link(sha256(used.encode()).digest())
    entry.forget_link(sha256(used.encode()).digest())
    assert [link.code_sha256 for link in Entry(tmp_path).access().links] == [sha256(other.encode()).digest()]


def test_a_broken_link_file_does_no_harm(tmp_path: Path) -> None:
    entry = Entry(tmp_path)
    (entry.links_folder / "zz.json").write_text("{")
    (entry.links_folder / f"{'ab' * 32}.json").write_text('{"token": 5}')
    entry.add_link(Right("a"))
    assert len(entry.access().links) == 1
