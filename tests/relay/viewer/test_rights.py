"""Tokens, links and how long they hold, against the clock they are given."""

import hashlib
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pancar_relay.desired import Access, CameraKey, Link
from pancar_relay.errors import LinkRefusedError, TokenError
from pancar_relay.viewer.rights import SKEW, Rights
from rigs.relay import AUDIENCE, ISSUER, Minter

CAMERA = CameraKey("kota", "taman")
CODE = "sekali-saja"


def access(minter: Minter, *links: Link) -> Access:
    return Access(ISSUER, AUDIENCE, ((minter.kid, minter.pem),), links)


def rights(minter: Minter, *links: Link) -> Rights:
    made = Rights()
    made.update(access(minter, *links))
    return made


def link(minter: Minter, **claims: Any) -> Link:
    return Link(hashlib.sha256(CODE.encode()).digest(), minter.token(**claims), time.time() + 60)


def test_a_token_says_who_and_what(minter: Minter) -> None:
    viewer = rights(minter).verify(minter.token(sub="petugas", scope="watch metrics"), time.time())
    assert (viewer.subject, set(viewer.scopes)) == ("petugas", {"watch", "metrics"})
    assert viewer.may_watch(CAMERA)


@pytest.mark.parametrize(
    ("cameras", "allowed"),
    [
        (["*"], True),
        (["kota/*"], True),
        (["kota/ta*"], True),
        (["polisi/*", "kota/taman"], True),
        (["kota/TAMAN"], False),
        (["kota"], False),
        (["polisi/*"], False),
        ([], False),
        ([7, None], False),
    ],
)
def test_globs_over_namespace_and_name(minter: Minter, cameras: list[Any], allowed: bool) -> None:
    viewer = rights(minter).verify(minter.token(cameras=cameras), time.time())
    assert viewer.may_watch(CAMERA) is allowed


def test_without_the_scope_globs_give_nothing(minter: Minter) -> None:
    assert not rights(minter).verify(minter.token(scope="metrics"), time.time()).may_watch(CAMERA)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"sub": 7},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"scope": ["watch"]},
        {"cameras": "*"},
        {"iat": time.time() + 3600},
        {"nbf": time.time() + 3600},
        {"ttl": -1.0},
    ],
)
def test_a_wrong_claim_gives_no_right(minter: Minter, claims: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        rights(minter).verify(minter.token(**claims), time.time())


@pytest.mark.parametrize("missing", ["exp", "iat", "sub", "iss", "aud"])
def test_no_claim_may_be_missing(minter: Minter, missing: str) -> None:
    claims = jwt.decode(minter.token(), options={"verify_signature": False})
    del claims[missing]
    token = jwt.encode(claims, minter.key, algorithm="ES256", headers={"kid": minter.kid})
    with pytest.raises(TokenError):
        rights(minter).verify(token, time.time())


def test_a_clock_slightly_ahead_is_forgiven(minter: Minter) -> None:
    assert rights(minter).verify(minter.token(iat=time.time() + SKEW / 2), time.time())


def test_another_key_under_the_same_kid_gives_no_right(minter: Minter) -> None:
    forger = Minter()
    with pytest.raises(TokenError):
        rights(minter).verify(forger.token(headers={"kid": minter.kid}), time.time())


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "é.b.c", "\udcff", "." * 9000, "eyJhbGciOiJFUzI1NiJ9..", "null.e30."]
)
def test_junk_gives_no_right(minter: Minter, token: str) -> None:
    with pytest.raises(TokenError):
        rights(minter).verify(token, time.time())


def test_neither_no_algorithm_nor_the_public_key_as_a_secret_signs(minter: Minter) -> None:
    claims = jwt.decode(minter.token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": minter.kid})
    hashed = jwt.encode(claims, "k" * 64, algorithm="HS256", headers={"kid": minter.kid})
    for token in (unsigned, hashed):
        with pytest.raises(TokenError):
            rights(minter).verify(token, time.time())


def test_a_cached_token_still_expires(minter: Minter) -> None:
    made, token = rights(minter), minter.token(ttl=10)
    viewer = made.verify(token, time.time())
    assert made.verify(token, time.time() + 9) is viewer
    assert made.holds(viewer, time.time() + 9)
    assert not made.holds(viewer, viewer.expires)
    with pytest.raises(TokenError, match="expired"):
        made.verify(token, viewer.expires)


def test_a_right_ends_with_the_key_that_signed_it(minter: Minter) -> None:
    made = rights(minter)
    token = minter.token()
    viewer = made.verify(token, time.time())
    made.update(access(Minter()))
    assert not made.holds(viewer, time.time())
    with pytest.raises(TokenError):
        made.verify(token, time.time())


def test_a_right_outlives_an_update_that_does_not_concern_it(minter: Minter) -> None:
    made, other = rights(minter), Minter()
    viewer = made.verify(minter.token(), time.time())
    both = replace(access(minter), keys=((other.kid, other.pem), (minter.kid, minter.pem)))
    made.update(both)
    assert made.holds(viewer, time.time())
    made.update(replace(both, audience="elsewhere"))
    assert not made.holds(viewer, time.time())


def test_nobody_enters_before_the_first_desired_state(minter: Minter) -> None:
    with pytest.raises(TokenError):
        Rights().verify(minter.token(), time.time())


def test_a_key_that_is_none_changes_nothing(minter: Minter) -> None:
    made = rights(minter)
    elsewhere = ec.generate_private_key(ec.SECP384R1()).public_key()
    wrong = elsewhere.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for pem in ("no key", wrong):
        with pytest.raises(ValueError, match="verification key k"):
            made.update(Access(ISSUER, AUDIENCE, (("k", pem),)))
    assert made.verify(minter.token(), time.time())


def test_a_link_is_good_once(minter: Minter) -> None:
    made = rights(minter, link(minter, sub="tamu"))
    token, viewer = made.exchange(CODE, time.time())
    assert (viewer.subject, made.verify(token, time.time())) == ("tamu", viewer)
    with pytest.raises(LinkRefusedError):
        made.exchange(CODE, time.time())


def test_a_used_link_stays_used_until_the_operator_has_forgotten_it(minter: Minter) -> None:
    once = link(minter)
    made = rights(minter, once)
    made.exchange(CODE, time.time())
    made.update(access(minter, once))
    with pytest.raises(LinkRefusedError):
        made.exchange(CODE, time.time())
    assert made.spent() == {once.code_sha256}
    made.update(access(minter))
    assert made.spent() == frozenset()


def test_a_link_too_old_unknown_or_to_an_ended_right_buys_nothing(minter: Minter) -> None:
    made = rights(minter, link(minter))
    for code, now in ((CODE, time.time() + 61), ("other", time.time()), ("\udcff", time.time())):
        with pytest.raises(LinkRefusedError):
            made.exchange(code, now)
    ended = rights(minter, link(minter, ttl=-1.0))
    with pytest.raises(LinkRefusedError):
        ended.exchange(CODE, time.time())


def test_secrets_stay_out_of_repr(minter: Minter) -> None:
    once = link(minter)
    assert once.token not in repr(access(minter, once))
