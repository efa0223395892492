"""The state an operator desires of this relay, in the relay's own terms.

`control` makes these from the wire; everything else of the relay reads them. Values that are secret stay out of `repr`.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Transport = Literal["auto", "tcp", "udp"]


class CameraKey(NamedTuple):
    """What names a camera; sorts as the wall lists them."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a camera's stream is pulled from. `url` holds no user info."""

    url: str
    transport: Transport = "auto"
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One camera this relay is the origin of."""

    key: CameraKey
    source: Source
    # The smaller stream, pulled while a viewer needs it; None where the camera has none to spare.
    sub: Source | None = None
    title: str = ""
    site: str = ""
    paused: bool = False
    paused_reason: str = ""
    # Of the camera's manifest; what is reported of the camera names it.
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A code good for one exchange against `token`, until `not_after` (seconds since the epoch)."""

    code_sha256: bytes
    token: str = field(repr=False)
    not_after: float


@dataclass(frozen=True, slots=True)
class Access:
    """Who may enter: the public keys (kid -> PEM) of those who sign tokens, and the links still good."""

    issuer: str = ""
    audience: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaAddresses:
    """Where viewers reach a relay's media ports: (ip, port), the preferred ones first."""

    udp: tuple[tuple[str, int], ...] = ()
    tcp: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Desired:
    """A whole desired state; `version` grows within a leader's `term`."""

    term: int
    version: int
    assignments: tuple[Assignment, ...] = ()
    access: Access = field(default_factory=Access)
    # None where the relay knows them itself.
    media_addresses: MediaAddresses = field(default_factory=MediaAddresses)
