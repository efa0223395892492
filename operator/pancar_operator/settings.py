"""The operator's environment, parsed once into a frozen `Settings`; called by `__main__` alone.

Each part is given its own piece: `Deployment` is what `specs` builds the relays' pods from.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, get_args

from pancar_proto.logs import Format

from pancar_operator.model import Key
from pancar_operator.specs import Deployment, PullPolicy

_PULL_POLICIES: Final[tuple[PullPolicy, ...]] = get_args(PullPolicy)


class SettingsError(Exception):
    """The environment cannot be meant so: says which variable, and what it should be."""


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address to listen on and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that an operator process is told at its start, beside how to reach the API server."""

    namespace: str
    # Who it is among the replicas: its pod's name.
    identity: str
    attach_listen: Address
    enrol_listen: Address
    health_listen: Address
    deployment: Deployment
    default_pool: Key
    log_format: Format

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingsError naming the variable that is missing or wrong."""
        namespace = _required(environment, "PANCAR_NAMESPACE", "the namespace that the operator runs in")
        return cls(
            namespace=namespace,
            identity=_required(environment, "PANCAR_IDENTITY", "the name of the operator's pod"),
            attach_listen=_address(environment, "PANCAR_LISTEN", "[::]:8443"),
            enrol_listen=_address(environment, "PANCAR_ENROL_LISTEN", "[::]:8444"),
            health_listen=_address(environment, "PANCAR_HEALTH_LISTEN", "[::]:8081"),
            deployment=Deployment(
                image=_required(environment, "PANCAR_RELAY_IMAGE", "the image that relays run"),
                pull_policy=_pull_policy(environment),
                control=_target(environment, "PANCAR_RELAY_CONTROL"),
                enrol=_target(environment, "PANCAR_RELAY_ENROL"),
                # Handed on as they are: the relay parses them, and says in its log what is wrong with them.
                turn_urls=environment.get("PANCAR_RELAY_TURN_URLS", "").strip(),
                turn_secret=environment.get("PANCAR_RELAY_TURN_SECRET", "").strip(),
                cors_origins=environment.get("PANCAR_RELAY_CORS_ORIGINS", "").strip(),
            ),
            default_pool=_default_pool(environment, namespace),
            log_format=_log_format(environment),
        )


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: it is {what}")
    return value


def _address(environment: Mapping[str, str], name: str, default: str) -> Address:
    text = environment.get(name, "").strip() or default
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if bracketed != (ip.version == 6):
            raise ValueError("IPv6 addresses, and only they, stand in brackets")
        return Address(str(ip), _port(port))
    except ValueError as error:
        raise SettingsError(
            f"{name} is not an IP address and port to listen on, like {default}: {text!r} ({error})"
        ) from error


def _target(environment: Mapping[str, str], name: str) -> str:
    text = _required(environment, name, "where relays reach the operator, as host:port")
    host, _, port = text.rpartition(":")
    try:
        # 0 is for who listens.
        good = bool(host) and "/" not in text and _port(port) > 0
    except ValueError:
        good = False
    if not good:
        raise SettingsError(f"{name} is not where relays reach the operator, as host:port: {text!r}")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise ValueError("it ends in no port")
    return int(text)


def _pull_policy(environment: Mapping[str, str]) -> PullPolicy:
    text = environment.get("PANCAR_RELAY_PULL_POLICY", "").strip() or "IfNotPresent"
    for policy in _PULL_POLICIES:
        if policy == text:
            return policy
    raise SettingsError(f"PANCAR_RELAY_PULL_POLICY is none of {', '.join(_PULL_POLICIES)}: {text!r}")


def _default_pool(environment: Mapping[str, str], namespace: str) -> Key:
    text = environment.get("PANCAR_DEFAULT_POOL", "").strip()
    if not text:
        return Key(namespace, "default")
    pool = Key(*text.partition("/")[::2])
    if not all(pool) or "/" in pool.name:
        raise SettingsError(f"PANCAR_DEFAULT_POOL is not the namespace and name of a RelayPool, as a/b: {text!r}")
    return pool


def _log_format(environment: Mapping[str, str]) -> Format:
    text = environment.get("PANCAR_LOG_FORMAT", "").strip() or "console"
    if text == "json":
        return "json"
    if text == "console":
        return "console"
    raise SettingsError(f"PANCAR_LOG_FORMAT is neither console nor json: {text!r}")
