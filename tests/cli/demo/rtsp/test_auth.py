"""Digest and basic access admit the account's owner and nobody else."""

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.demo.rtsp.auth import Guard, Scheme, parameters
from pancar_cli.demo.rtsp.messages import Request

NONCE = "0123456789abcdef"
URI = "rtsp://h/main"
GUARD = Guard("viewer", 'pa"ss:word')
words = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"\\'), max_size=12)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def request(authorization: str, method: str = "DESCRIBE") -> Request:
    return Request(method, URI, {"authorization": authorization})


def digest_of(username: str, password: str, realm: str = GUARD.realm, nonce: str = NONCE, extra: str = "") -> str:
    """As a client writes it, from RFC 2617 alone."""
    response = md5(f"{md5(f'{username}:{realm}:{password}')}:{nonce}:{md5(f'DESCRIBE:{URI}')}")
    fields = f'username="{username}", realm="{realm}", nonce="{nonce}", uri="{URI}", response="{response}"{extra}'
    return f"Digest {fields}"


def test_the_digest_of_rfc_2617() -> None:
    """The example of section 3.5, with the quality of protection that it uses."""
    guard = Guard("Mufasa", "Circle Of Life", realm="testrealm@host.com")
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    header = (
        f'Digest username="Mufasa", realm="testrealm@host.com", nonce="{nonce}", uri="/dir/index.html", qop=auth, '
        'nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e95"'
    )
    assert guard.admits(Request("GET", "/dir/index.html", {"authorization": header}), nonce)
    assert not guard.admits(Request("GET", "/dir/index.html", {"authorization": header.replace("62", "63")}), nonce)


def test_digest_admits_the_owner() -> None:
    assert GUARD.admits(request(digest_of(GUARD.username, GUARD.password)), NONCE)


@given(words, words)
def test_digest_admits_nobody_else(username: str, password: str) -> None:
    if (username, password) != (GUARD.username, GUARD.password):
        assert not GUARD.admits(request(digest_of(username, password)), NONCE)


def test_a_digest_is_bound_to_its_nonce_realm_and_method() -> None:
    own = digest_of(GUARD.username, GUARD.password)
    assert not GUARD.admits(request(own), "another nonce")
    assert not GUARD.admits(request(own, "SETUP"), NONCE)
    assert not GUARD.admits(request(digest_of(GUARD.username, GUARD.password, realm="elsewhere")), NONCE)
    assert not GUARD.admits(request(digest_of(GUARD.username, GUARD.password, extra=", qop=auth-int")), NONCE)


def test_basic() -> None:
    guard = Guard("viewer", "secret", Scheme.BASIC)

    def basic(text: str) -> Request:
        return request("Basic " + base64.b64encode(text.encode()).decode())

    assert guard.admits(basic("viewer:secret"), NONCE)
    assert not guard.admits(basic("viewer:Secret"), NONCE)
    assert not guard.admits(request("Basic %%%"), NONCE)
    assert not guard.admits(request(digest_of("viewer", "secret")), NONCE)


@given(st.text(max_size=200))
def test_any_header_is_refused_without_a_fault(text: str) -> None:
    for guard in (GUARD, Guard("viewer", "secret", Scheme.BASIC)):
        assert not guard.admits(request(text), NONCE)
        assert not guard.admits(request(f"{guard.scheme.value} {text}"), NONCE)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), words, max_size=5))
def test_parameters_come_back(fields: dict[str, str]) -> None:
    assert parameters(", ".join(f'{name}="{value}"' for name, value in fields.items())) == fields


def test_the_password_is_in_no_representation() -> None:
    assert "ss:word" not in repr(GUARD)
    assert "ss:word" not in GUARD.challenge(NONCE)
