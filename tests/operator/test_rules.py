"""Rules of fields: what they let pass, and that their two halves, Python's and the API server's, let the same pass."""

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pancar_operator.values import HttpUrl, LabelKey, Line, RtspUrl
from pydantic import TypeAdapter, ValidationError
from rigs.apiserver import refusals

RTSP = TypeAdapter(RtspUrl)
TEXTS: dict[str, TypeAdapter[str]] = {
    "RtspUrl": RTSP,
    "HttpUrl": TypeAdapter(HttpUrl),
    "LabelKey": TypeAdapter(LabelKey),
    "Line": TypeAdapter(Line),
}
PIECES = st.sampled_from(
    [
        *("rtsp", "RTSP", "rtsps", "http", "://", "/", "//", ":", "@", "?", "#", "[", "]", "::1", "a", "_", "-", "."),
        *("554", "0", "65535", "65536", "192.0.2.1", "2001:db8::", "example.org", " ", "%", "é", "x" * 64),
        *("\u00a0", "\u2028", "\n"),
    ]
)
URLS = st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, max_size=8).map(
    lambda pieces: "rtsp://" + "".join(pieces)
)


def complaint(adapter: TypeAdapter[str], text: str) -> str | None:
    try:
        adapter.validate_python(text)
    except ValidationError as error:
        (found,) = error.errors()
        return found["msg"]
    return None


@pytest.mark.parametrize("name", TEXTS)
@settings(deadline=None)
@given(text=URLS | st.text(max_size=20))
@example(text="rtsp://admin:hunter2/#x@192.0.2.10/stream")
@example(text="gate\n")
def test_both_halves_of_a_rule_say_the_same(name: str, text: str) -> None:
    schema: dict[str, Any] = TEXTS[name].json_schema()
    block = {"type": "object", "properties": {"it": schema}}
    told = [refusal.why for refusal in refusals(block, {"it": text})]
    said = complaint(TEXTS[name], text)
    if len(text) > schema["maxLength"]:
        assert said is not None
        assert told == ["too long"]
    else:
        assert told == ([said] if said else [])


@given(address=st.ip_addresses(v=6))
def test_every_spelling_of_an_ipv6_address_is_a_host(address: ipaddress.IPv6Address) -> None:
    for spelling in (str(address), address.exploded, address.exploded.upper()):
        assert complaint(RTSP, f"rtsp://[{spelling}]:554/stream") is None


@given(
    text=st.lists(st.sampled_from(["0", "1f", "abcd", "12345", ":", "::", ".", "1.2.3.4", "256.1.1.1", "g"])).map(
        "".join
    )
)
@example(text="1:2:3:4:5:6:7::")
@example(text="::2:3:4:5:6:7:8")
@example(text="1:2:3:4::5:6:7:8")
@example(text="::ffff:192.0.2.1")
@example(text="1:2:3:4:5:6:192.0.2.1")
def test_nothing_else_in_brackets_is_one(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        assert complaint(RTSP, f"rtsp://[{text}]/") is not None
    else:
        assert complaint(RTSP, f"rtsp://[{text}]/") is None


@given(port=st.integers(0, 99_999))
def test_ports_are_those_that_there_are(port: int) -> None:
    assert (complaint(RTSP, f"rtsp://gate:{port}/") is None) == (0 < port < 65_536)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("rtsp://gate", None),
        ("RTSP://gate_2.lan:/live?user=x&channel=1", None),
        ("rtsp://192.0.2.10/a@b", None),
        ("rtsp://192.0.2.10:554/a@b", None),
        ("rtsp://gate/?password=a:b@c", None),
        # Host u, port 12: nothing tells that a password was meant.
        ("rtsp://u:12/34@gate:x", None),
        ("rtsp://u@gate/", "user name or password"),
        ("rtsp://u:p/w@gate/", "user name or password"),
        ("ftp://u:p@gate/", "user name or password"),
        ("rtsp://gate:554x/", "cannot be read"),
        ("rtsp://[fe80::1/", "cannot be read"),
        ("rtsp://-gate/", "must name a host"),
        ("rtsp://:554/", "must name a host"),
        ("rtsp:/gate", "must begin with rtsp://"),
        ("rtsp://gate/#a", "must not contain '#'"),
        ("rtsp://gate/" + "x" * 2048, "at most 2048 characters"),
    ],
)
def test_urls(url: str, wanted: str | None) -> None:
    said = complaint(RTSP, url)
    assert said is None if wanted is None else said is not None and re.search(re.escape(wanted), said), said
