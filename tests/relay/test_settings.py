"""The environment of a relay process, parsed."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_relay.errors import SettingsError
from pancar_relay.settings import (
    Address,
    Capacity,
    Enrolling,
    Settings,
    by_preference,
    host_addresses,
    parse_address,
)

LEAST = {
    "PANCAR_RELAY_UID": "u",
    "PANCAR_CONTROL": "unix:/run/control.sock",
    "PANCAR_ENROL": "unix:/run/enrol.sock",
    # Files that are there.
    "PANCAR_CONTROL_AUTHORITIES": __file__,
    "PANCAR_TOKEN": __file__,
}


def test_the_least() -> None:
    settings = Settings.from_environment(LEAST)
    assert (settings.relay_uid, settings.pool, settings.log_format) == ("u", "default", "console")
    assert (settings.http_listen, settings.media_listen) == (Address("127.0.0.1", 8080), Address("127.0.0.1", 0))
    assert (settings.media_addresses, settings.tls) == (("127.0.0.1",), None)
    assert (settings.relay_name, settings.state_dir, settings.drain_seconds) == ("u", None, 0.0)


def test_what_a_pod_is_told(tmp_path: Path) -> None:
    for name in ("ca.crt", "token"):
        (tmp_path / name).touch()
    settings = Settings.from_environment(
        {
            "PANCAR_RELAY_UID": "7f1c",
            "PANCAR_RELAY_NAME": "kota-0",
            "PANCAR_POOL": "pancar/kota",
            "PANCAR_CONTROL": "pancar-operator.pancar.svc:8443",
            "PANCAR_ENROL": "[2001:db8::1]:8444",
            "PANCAR_CONTROL_AUTHORITIES": f"{tmp_path}/ca.crt",
            "PANCAR_TOKEN": f"{tmp_path}/token",
            "PANCAR_STATE_DIR": "/run/pancar",
            "PANCAR_HTTP_LISTEN": "0.0.0.0:8443",
            "PANCAR_MEDIA_LISTEN": "0.0.0.0:8801",
            "PANCAR_MEDIA_ADDRESSES": "10.0.0.7",
            "PANCAR_DRAIN_SECONDS": "30",
            "PANCAR_CAPACITY_CAMERAS": "100",
            "PANCAR_CAPACITY_VIEWERS": "500",
            "PANCAR_CAPACITY_EGRESS_MBPS": "900",
        }
    )
    assert settings.relay_name == "kota-0"
    assert settings.enrolling == Enrolling("[2001:db8::1]:8444", tmp_path / "ca.crt", tmp_path / "token")
    assert (settings.state_dir, settings.drain_seconds) == (Path("/run/pancar"), 30.0)
    assert settings.capacity == Capacity(cameras=100, viewers=500, egress_mbps=900)
    assert settings.media_addresses == ("10.0.0.7",)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PANCAR_RELAY_UID", "", "PANCAR_RELAY_UID is not set"),
        ("PANCAR_CONTROL", "", "PANCAR_CONTROL is not set"),
        ("PANCAR_CONTROL", "operator", "neither host:port nor unix:/path"),
        ("PANCAR_CONTROL", "unix:control.sock", "neither"),
        ("PANCAR_CONTROL", "pancar-operator.pancar.svc:0", "neither"),
        ("PANCAR_CONTROL", "-:8443", "neither"),
        ("PANCAR_ENROL", "operator:", "PANCAR_ENROL is neither"),
        ("PANCAR_ENROL", "", "PANCAR_ENROL is not set"),
        ("PANCAR_CONTROL_AUTHORITIES", "", "PANCAR_CONTROL_AUTHORITIES is not set"),
        ("PANCAR_TOKEN", "/nowhere", "PANCAR_TOKEN names no file: /nowhere"),
        ("PANCAR_STATE_DIR", "state", "PANCAR_STATE_DIR is no absolute path"),
        ("PANCAR_DRAIN_SECONDS", "soon", "PANCAR_DRAIN_SECONDS is no number"),
        ("PANCAR_DRAIN_SECONDS", "-1", "PANCAR_DRAIN_SECONDS"),
        ("PANCAR_CAPACITY_CAMERAS", "0", "PANCAR_CAPACITY_CAMERAS is no whole number above zero"),
        ("PANCAR_CAPACITY_VIEWERS", "many", "PANCAR_CAPACITY_VIEWERS"),
        ("PANCAR_CAPACITY_EGRESS_MBPS", "1.5", "PANCAR_CAPACITY_EGRESS_MBPS"),
        ("PANCAR_HTTP_LISTEN", "localhost:80", "PANCAR_HTTP_LISTEN"),
        ("PANCAR_HTTP_LISTEN", "127.0.0.1", "PANCAR_HTTP_LISTEN"),
        ("PANCAR_HTTP_LISTEN", "127.0.0.1:65536", "PANCAR_HTTP_LISTEN"),
        ("PANCAR_HTTP_LISTEN", "::1:80", "PANCAR_HTTP_LISTEN"),
        ("PANCAR_MEDIA_LISTEN", "media:1", "PANCAR_MEDIA_LISTEN"),
        ("PANCAR_MEDIA_ADDRESSES", "192.0.2.1,host", "PANCAR_MEDIA_ADDRESSES"),
        ("PANCAR_MEDIA_ADDRESSES", "::", "wildcard"),
        ("PANCAR_TLS_KEY", "/nowhere", "PANCAR_TLS_CERTIFICATE is not set"),
        ("PANCAR_TURN_URLS", "turn.example.org", "PANCAR_TURN_URLS, .*: no STUN or TURN URL, .*: 'turn.example.org'"),
        ("PANCAR_TURN_URLS", "stun:a,turn:b?transport=sctp", ": 'turn:b.transport=sctp'"),
        ("PANCAR_TURN_URLS", 'turn:"b', "no STUN or TURN URL"),
        ("PANCAR_TURN_URLS", "turn:turn.example.org", "PANCAR_TURN_SECRET: TURN servers want a file"),
        ("PANCAR_CORS_ORIGINS", "portal.example.org", "PANCAR_CORS_ORIGINS: neither an origin, .*, nor .: 'portal"),
        ("PANCAR_CORS_ORIGINS", "https://portal.example.org/", "neither an origin"),
        ("PANCAR_CORS_ORIGINS", "https://*.example.org", "neither an origin"),
        ("PANCAR_LOG_FORMAT", "xml", "PANCAR_LOG_FORMAT"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_environment(LEAST | {name: value})


def test_beyond_loopback_with_a_certificate(tmp_path: Path) -> None:
    files = {"PANCAR_TLS_CERTIFICATE": tmp_path / "tls.crt", "PANCAR_TLS_KEY": tmp_path / "tls.key"}
    environment = LEAST | {"PANCAR_HTTP_LISTEN": "[::]:8443"} | {name: str(path) for name, path in files.items()}
    with pytest.raises(SettingsError, match="names no file"):
        Settings.from_environment(environment)
    for path in files.values():
        path.touch()
    assert Settings.from_environment(environment).http_listen == Address("::", 8443)


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:0", "[2001:db8::1]:65535"])
def test_addresses_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_address(text)) == text


def test_addresses_come_by_their_precedence_and_both_families_by_turns() -> None:
    addresses = ["fd00::1", "192.0.2.1", "2001:db8::1", "2002::1", "2001:db8::2", "2001::1", "192.0.2.2"]
    ordered = by_preference([ip_address(address) for address in addresses])
    # RFC 6724, 2.1: global IPv6, IPv4, then 6to4, Teredo, unique local. RFC 8421, 4: interleaved.
    assert [str(address) for address in ordered] == [
        *("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2002::1", "2001::1", "fd00::1")
    ]
    assert [str(address) for address in by_preference([ip_address("fd00::1"), ip_address("192.0.2.1")])] == [
        *("192.0.2.1", "fd00::1")
    ]
    assert by_preference([]) == []


@given(st.lists(st.ip_addresses(), unique=True))
def test_no_address_is_lost_or_made_up_by_ordering(addresses: list[IPv4Address | IPv6Address]) -> None:
    ordered = by_preference(addresses)
    assert sorted(map(str, ordered)) == sorted(map(str, addresses))
    few = min(sum(address.version == version for address in addresses) for version in (4, 6))
    leading = [address.version for address in ordered[: 2 * few]]
    assert leading in ([4, 6] * few, [6, 4] * few)


def test_a_wildcard_of_either_family_stands_for_what_its_socket_takes() -> None:
    both, old = host_addresses("::"), host_addresses("0.0.0.0")  # noqa: S104
    assert set(old) <= {*both, "127.0.0.1"}
    assert all(ip_address(address).version == 4 for address in old)
    assert not any(ip_address(address).is_link_local for address in both)


def test_media_addresses_of_a_wildcard_are_the_hosts_own() -> None:
    settings = Settings.from_environment(LEAST | {"PANCAR_MEDIA_LISTEN": "[::]:5000"})
    assert settings.media_addresses == host_addresses("::")
    assert "::" not in settings.media_addresses
    given = {"PANCAR_MEDIA_LISTEN": "0.0.0.0:5000", "PANCAR_MEDIA_ADDRESSES": "203.0.113.7, 203.0.113.7,2001:db8::7"}
    assert Settings.from_environment(LEAST | given).media_addresses == ("203.0.113.7", "2001:db8::7")


def test_turn_servers_and_the_secret_shared_with_them(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    environment = LEAST | {
        "PANCAR_TURN_URLS": "stun:stun.example.org, turn:[2001:db8::5]:3478?transport=tcp,turns:turn.example.org",
        "PANCAR_TURN_SECRET": str(secret),
    }
    for write, said in ((None, "cannot be read: No such file"), ("\n", "is empty")):
        if write is not None:
            secret.write_text(write)
        with pytest.raises(SettingsError, match=said):
            Settings.from_environment(environment)
    secret.write_text("sssh\n")
    settings = Settings.from_environment(environment)
    assert settings.ice_servers.urls == (
        "stun:stun.example.org",
        "turn:[2001:db8::5]:3478?transport=tcp",
        "turns:turn.example.org",
    )
    assert settings.ice_servers.secret == b"sssh"
    assert "sssh" not in repr(settings)
    # STUN servers take no credentials.
    assert Settings.from_environment(LEAST | {"PANCAR_TURN_URLS": "stun:a.example"}).ice_servers.urls


def test_origins_of_pages_that_may_use_whep() -> None:
    assert Settings.from_environment(LEAST).cors.origins == frozenset()
    named = "https://portal.example.org, http://[2001:db8::5]:3000"
    settings = Settings.from_environment(LEAST | {"PANCAR_CORS_ORIGINS": named})
    assert settings.cors.origins == {"https://portal.example.org", "http://[2001:db8::5]:3000"}
    assert Settings.from_environment(LEAST | {"PANCAR_CORS_ORIGINS": "*"}).cors.allows("https://anywhere.example")
