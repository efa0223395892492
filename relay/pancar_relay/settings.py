"""The environment, parsed once into a frozen `Settings`; called by `__main__` alone."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ifaddr

from pancar_relay.errors import SettingsError

LogFormat = Literal["console", "json"]


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and port; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def wildcard(self) -> bool:
        return ipaddress.ip_address(self.host).is_unspecified


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the certificate (chain) and its key that HTTPS is served with."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a relay process is told at its start."""

    relay_uid: str
    pool: str
    control: str
    http_listen: Address
    media_listen: Address
    media_addresses: tuple[str, ...]
    tls: Tls | None
    log_format: LogFormat
    # Wait, once loaded, for a line on standard input before anything is opened; end with it.
    standby: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingsError naming the variable that is missing or wrong."""
        http_listen = _address(environment, "PANCAR_HTTP_LISTEN", "127.0.0.1:8080")
        media_listen = _address(environment, "PANCAR_MEDIA_LISTEN", "127.0.0.1:0")
        return cls(
            relay_uid=_required(environment, "PANCAR_RELAY_UID"),
            pool=environment.get("PANCAR_POOL") or "default",
            control=_control(environment),
            http_listen=http_listen,
            media_listen=media_listen,
            media_addresses=_media_addresses(environment, media_listen),
            tls=_tls(environment, http_listen),
            log_format=_log_format(environment),
            standby=bool(environment.get("PANCAR_STANDBY")),
        )


def parse_address(text: str) -> Address:
    """Parses "127.0.0.1:8080" or "[::1]:0"; raises ValueError for anything but an IP address and a port."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("it ends in no port")
    bracketed = host.startswith("[") and host.endswith("]")
    parsed = ipaddress.ip_address(host[1:-1] if bracketed else host)
    if bracketed != (parsed.version == 6):
        raise ValueError("IPv6 addresses, and only they, stand in brackets")
    return Address(str(parsed), int(port))


def host_addresses(wildcard: str) -> tuple[str, ...]:
    """The host's addresses that a viewer elsewhere could reach, of the wildcard's family; else loopback."""
    version = ipaddress.ip_address(wildcard).version
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            parsed = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            # A link-local address means nothing without its scope, which a candidate line cannot carry.
            if parsed.version == version and not parsed.is_loopback and not parsed.is_link_local:
                found.append(str(parsed))
    return tuple(found) or ("127.0.0.1" if version == 4 else "::1",)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _control(environment: Mapping[str, str]) -> str:
    target = _required(environment, "PANCAR_CONTROL")
    if not target.startswith("unix:"):
        raise SettingsError(
            "PANCAR_CONTROL must be a unix socket (unix:/path): control never runs over TCP in the clear"
        )
    return target


def _address(environment: Mapping[str, str], name: str, default: str) -> Address:
    text = environment.get(name) or default
    try:
        return parse_address(text)
    except ValueError as error:
        raise SettingsError(f"{name} is not an IP address and port: {text!r} ({error})") from error


def _media_addresses(environment: Mapping[str, str], listen: Address) -> tuple[str, ...]:
    text = environment.get("PANCAR_MEDIA_ADDRESSES", "")
    if not text:
        return host_addresses(listen.host) if listen.wildcard else (listen.host,)
    try:
        parsed = [ipaddress.ip_address(part.strip()) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(f"PANCAR_MEDIA_ADDRESSES is not a comma list of IP addresses: {error}") from error
    if any(address.is_unspecified for address in parsed):
        raise SettingsError("PANCAR_MEDIA_ADDRESSES holds a wildcard, which no viewer can send to")
    return tuple(dict.fromkeys(str(address) for address in parsed))


def _tls(environment: Mapping[str, str], listen: Address) -> Tls | None:
    certificate, key = environment.get("PANCAR_TLS_CERTIFICATE", ""), environment.get("PANCAR_TLS_KEY", "")
    if not certificate and not key:
        if not listen.loopback:
            raise SettingsError(
                f"PANCAR_HTTP_LISTEN is {listen}: beyond loopback HTTPS is required, set PANCAR_TLS_CERTIFICATE and "
                "PANCAR_TLS_KEY"
            )
        return None
    for name, path in (("PANCAR_TLS_CERTIFICATE", certificate), ("PANCAR_TLS_KEY", key)):
        if not path:
            raise SettingsError(f"{name} is not set, though its counterpart is")
        if not Path(path).is_file():
            raise SettingsError(f"{name} names no file: {path}")
    return Tls(Path(certificate), Path(key))


def _log_format(environment: Mapping[str, str]) -> LogFormat:
    text = environment.get("PANCAR_LOG_FORMAT") or "console"
    if text == "json":
        return "json"
    if text == "console":
        return "console"
    raise SettingsError(f"PANCAR_LOG_FORMAT is neither console nor json: {text!r}")
