"""The environment, parsed once into a frozen `Settings`; called by `__main__` alone."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import ifaddr

from pancar_relay.cors import ANY, Cors
from pancar_relay.errors import SettingsError
from pancar_relay.viewer.iceservers import IceServers

LogFormat = Literal["console", "json"]

# A name as DNS and Kubernetes have them; addresses go through `parse_address`.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
UNIX = "unix:"
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# RFC 6724, 2.1: 6to4, Teredo, unique local and the deprecated kinds, which come after IPv4; all else is before it.
_PRECEDENCE = [
    (ipaddress.ip_network(prefix), rank)
    for prefix, rank in {"2002::/16": 30, "2001::/32": 5, "fc00::/7": 3, "fec0::/10": 1, "3ffe::/16": 1}.items()
]
# RFC 7064 and RFC 7065.
_ICE_SERVER = re.compile(r"(stuns?:[^?\s<>\"]+|turns?:[^?\s<>\"]+(\?transport=(udp|tcp))?)")
# As browsers write an origin (RFC 6454, 6.2).
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[1-9][0-9]{0,4})?")


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
class Enrolling:
    """Where the relay gets its certificate, and by what both sides know each other then."""

    target: str
    # PEM, the authorities that may have certified the operator; read again as it changes.
    authorities: Path
    # What proves who the relay is; read at each enrolment.
    token: Path


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the relay may carry at once."""

    cameras: int = 200
    viewers: int = 1000
    egress_mbps: int = 2000


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a relay process is told at its start."""

    relay_uid: str
    # As people know it: its pod's name.
    relay_name: str
    pool: str
    control: str
    enrolling: Enrolling
    # Where it keeps what it must still know after a restart; memory-backed, for it holds cameras' passwords.
    state_dir: Path | None
    # How long it may take to be emptied once it is asked to end.
    drain_seconds: float
    capacity: Capacity
    http_listen: Address
    media_listen: Address
    media_addresses: tuple[str, ...]
    # None where HTTPS is served with the relay's own certificate, or HTTP on loopback.
    tls: Tls | None
    ice_servers: IceServers
    cors: Cors
    log_format: LogFormat
    # Wait, once loaded, for a line on standard input before anything is opened; end with it.
    standby: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingsError naming the variable that is missing or wrong."""
        http_listen = _address(environment, "PANCAR_HTTP_LISTEN", "127.0.0.1:8080")
        media_listen = _address(environment, "PANCAR_MEDIA_LISTEN", "127.0.0.1:0")
        return cls(
            relay_uid=(uid := _required(environment, "PANCAR_RELAY_UID")),
            relay_name=environment.get("PANCAR_RELAY_NAME") or uid,
            pool=environment.get("PANCAR_POOL") or "default",
            control=_target(environment, "PANCAR_CONTROL"),
            enrolling=_enrolling(environment),
            state_dir=_state_dir(environment),
            drain_seconds=_seconds(environment, "PANCAR_DRAIN_SECONDS"),
            capacity=_capacity(environment),
            http_listen=http_listen,
            media_listen=media_listen,
            media_addresses=_media_addresses(environment, media_listen),
            tls=_tls(environment),
            ice_servers=_ice_servers(environment),
            cors=_cors(environment),
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


def ice_servers(urls: Sequence[str], secret: Path | None) -> IceServers:
    """STUN and TURN servers, and the file of the secret shared with the latter; raises ValueError."""
    for url in urls:
        if not _ICE_SERVER.fullmatch(url):
            raise ValueError(f"no STUN or TURN URL, as turn:turn.example.org:3478 is one: {url!r}")
    if not any(url.startswith("turn") for url in urls):
        return IceServers(tuple(urls))
    if secret is None:
        raise ValueError("TURN servers want a file with the secret that they share with the relay")
    try:
        shared = secret.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"the secret cannot be read: {error.strerror}: {secret}") from error
    if not shared:
        raise ValueError(f"the secret's file is empty: {secret}")
    return IceServers(tuple(urls), shared)


def cors(origins: Sequence[str]) -> Cors:
    """Raises ValueError for what is neither an exact origin nor "*"."""
    for origin in origins:
        if origin != ANY and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"neither an origin, as https://portal.example.org is one, nor *: {origin!r}")
    return Cors(frozenset(origins))


def host_addresses(wildcard: str) -> tuple[str, ...]:
    """The host's addresses that a viewer elsewhere could reach by a socket bound to the wildcard, which of IPv6 takes
    both families, the preferred ones first; else loopback."""
    version = ipaddress.ip_address(wildcard).version
    found: list[IpAddress] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            parsed = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            # A link-local address means nothing without its scope, which a candidate line cannot carry.
            if version in (6, parsed.version) and not parsed.is_loopback and not parsed.is_link_local:
                found.append(parsed)
    return tuple(map(str, by_preference(found))) or ("127.0.0.1" if version == 4 else "::1",)


def by_preference(addresses: Sequence[IpAddress]) -> list[IpAddress]:
    """The addresses by their precedence, and otherwise in their order; both families by turns, so that the one that
    does not lead the viewer here holds him up for no more than one candidate (RFC 8421, 4)."""
    ranked = sorted(addresses, key=_precedence, reverse=True)
    families = [[address for address in ranked if address.version == version] for version in (4, 6)]
    families.sort(key=lambda family: ranked.index(family[0]) if family else len(ranked))
    return [address for pair in zip_longest(*families) for address in pair if address is not None]


def _precedence(address: IpAddress) -> int:
    """RFC 6724, 2.1: unique local addresses come after IPv4, for they may lead no further than this site."""
    if address.version == 4:
        return 35
    return next((rank for prefix, rank in _PRECEDENCE if address in prefix), 40)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _target(environment: Mapping[str, str], name: str) -> str:
    """What gRPC dials: a unix socket, or a host by name or address and its port."""
    target = _required(environment, name)
    if target.startswith(UNIX + "/"):
        return target
    host, _, port = target.rpartition(":")
    if _HOST.fullmatch(host) and port.isascii() and port.isdigit() and 0 < int(port) <= 65535:
        return target
    try:
        if parse_address(target).port > 0:
            return target
    except ValueError:
        pass
    raise SettingsError(f"{name} is neither host:port nor unix:/path: {target!r}")


def _enrolling(environment: Mapping[str, str]) -> Enrolling:
    return Enrolling(
        target=_target(environment, "PANCAR_ENROL"),
        authorities=_file(environment, "PANCAR_CONTROL_AUTHORITIES"),
        token=_file(environment, "PANCAR_TOKEN"),
    )


def _file(environment: Mapping[str, str], name: str) -> Path:
    path = Path(_required(environment, name))
    if not path.is_file():
        raise SettingsError(f"{name} names no file: {path}")
    return path


def _state_dir(environment: Mapping[str, str]) -> Path | None:
    text = environment.get("PANCAR_STATE_DIR")
    if not text:
        return None
    if not Path(text).is_absolute():
        raise SettingsError(f"PANCAR_STATE_DIR is no absolute path: {text!r}")
    return Path(text)


def _seconds(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0"
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", text):
        raise SettingsError(f"{name} is no number of seconds: {text!r}")
    return float(text)


def _capacity(environment: Mapping[str, str]) -> Capacity:
    usual = Capacity()
    return Capacity(
        cameras=_count(environment, "PANCAR_CAPACITY_CAMERAS", usual.cameras),
        viewers=_count(environment, "PANCAR_CAPACITY_VIEWERS", usual.viewers),
        egress_mbps=_count(environment, "PANCAR_CAPACITY_EGRESS_MBPS", usual.egress_mbps),
    )


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise SettingsError(f"{name} is no whole number above zero: {text!r}")
    return int(text)


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


def _tls(environment: Mapping[str, str]) -> Tls | None:
    certificate, key = environment.get("PANCAR_TLS_CERTIFICATE", ""), environment.get("PANCAR_TLS_KEY", "")
    if not certificate and not key:
        return None
    for name, path in (("PANCAR_TLS_CERTIFICATE", certificate), ("PANCAR_TLS_KEY", key)):
        if not path:
            raise SettingsError(f"{name} is not set, though its counterpart is")
        if not Path(path).is_file():
            raise SettingsError(f"{name} names no file: {path}")
    return Tls(Path(certificate), Path(key))


def _ice_servers(environment: Mapping[str, str]) -> IceServers:
    secret = environment.get("PANCAR_TURN_SECRET")
    try:
        return ice_servers(_list(environment, "PANCAR_TURN_URLS"), Path(secret) if secret else None)
    except ValueError as error:
        raise SettingsError(f"PANCAR_TURN_URLS, PANCAR_TURN_SECRET: {error}") from error


def _cors(environment: Mapping[str, str]) -> Cors:
    try:
        return cors(_list(environment, "PANCAR_CORS_ORIGINS"))
    except ValueError as error:
        raise SettingsError(f"PANCAR_CORS_ORIGINS: {error}") from error


def _list(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    parts = (part.strip() for part in environment.get(name, "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _log_format(environment: Mapping[str, str]) -> LogFormat:
    text = environment.get("PANCAR_LOG_FORMAT") or "console"
    if text == "json":
        return "json"
    if text == "console":
        return "console"
    raise SettingsError(f"PANCAR_LOG_FORMAT is neither console nor json: {text!r}")
