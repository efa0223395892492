"""What is known — manifests, relays, their reports — and the `Snapshot` made of it.

The shell tells (`pancar up` what the files say, `control` what relays say), `reconcile` asks. Nothing here does I/O;
`now` comes from outside.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pancar_operator.access import Access
from pancar_operator.model import (
    DEFAULT_NAMESPACE,
    Assignment,
    Camera,
    Key,
    Manifests,
    Metadata,
    Placement,
    Relay,
    RelayPool,
    Report,
    Snapshot,
)

T = TypeVar("T")

# For so long a relay whose stream broke keeps its cameras: it goes on pulling them, and most come back at once.
DETACHED_GRACE: Final = 15.0

# The pool where the manifests declare none.
DEFAULT_POOL: Final = RelayPool(metadata=Metadata(name="default", namespace=DEFAULT_NAMESPACE))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a relay is reached, as it says itself."""

    http_url: str
    media_addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownRelay:
    """A relay that is attached, or was less than DETACHED_GRACE seconds ago."""

    relay: Relay
    endpoint: Endpoint
    # Whom it lets in, once it has acknowledged a state.
    access: Access | None = None
    detached_at: float | None = None


class Known:
    """All that is known; `changed` is set by whatever may change a plan or a status."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.changed = asyncio.Event()
        self.cameras: Mapping[Key, Camera] = {}
        self.pools: Mapping[Key, RelayPool] = {DEFAULT_POOL.key: DEFAULT_POOL}
        # The pool of cameras that name none: it stays the same for as long as it is declared.
        self.default_pool = DEFAULT_POOL.key
        self.placements: Mapping[Key, Placement] = {}
        self.relays: dict[str, KnownRelay] = {}
        self.reports: dict[Key, Report] = {}
        self.access = Access()

    def declare(self, manifests: Manifests) -> None:
        """Replaces what is declared. What did not change stays the same object, so that comparing is cheap."""
        self.cameras = {key: _settled(camera, self.cameras.get(key)) for key, camera in manifests.cameras.items()}
        self.pools = dict(manifests.pools) or {DEFAULT_POOL.key: DEFAULT_POOL}
        if self.default_pool not in self.pools:
            self.default_pool = min(self.pools, key=lambda key: (key.name != DEFAULT_POOL.key.name, key))
        placements: dict[Key, Placement] = {}
        for key, camera in self.cameras.items():
            ref = camera.spec.source.credentials_ref
            credentials = manifests.credentials.get(Key(key.namespace, ref.name)) if ref else None
            placements[key] = _settled(Placement(camera, credentials), self.placements.get(key))
        self.placements = placements
        self.reports = {key: report for key, report in self.reports.items() if key in self.cameras}
        self.changed.set()

    def admit(self, access: Access) -> None:
        """Replaces who may enter."""
        if access != self.access:
            self.access = access
            self.changed.set()

    def attach(self, relay: Relay, endpoint: Endpoint) -> None:
        self.relays[relay.uid] = KnownRelay(relay, endpoint)
        # It reports every camera anew after this.
        self._drop_reports([relay.uid])
        self.changed.set()

    def applied(self, uid: str, access: Access) -> None:
        """The relay lives by a state with this access."""
        known = self.relays.get(uid)
        if known is not None:
            self.relays[uid] = replace(known, access=access)
            self.changed.set()

    def detach(self, uid: str) -> None:
        known = self.relays.get(uid)
        if known is not None:
            self.relays[uid] = replace(known, detached_at=self._now())
            self._drop_reports([uid])
            self.changed.set()

    def forget(self, uid: str) -> None:
        """The relay is certainly gone: its process ended."""
        if self.relays.pop(uid, None) is not None:
            self._drop_reports([uid])
            self.changed.set()

    def report(self, camera: Key, report: Report) -> None:
        if camera in self.cameras:
            self.reports[camera] = report
            self.changed.set()

    def expire(self) -> float | None:
        """Forgets relays detached for too long; returns the seconds until the next one will be, if any is detached."""
        now = self._now()
        leaving = {uid: known.detached_at for uid, known in self.relays.items() if known.detached_at is not None}
        for uid, since in list(leaving.items()):
            if now - since >= DETACHED_GRACE:
                self.forget(uid)
                del leaving[uid]
        return min((since + DETACHED_GRACE - now for since in leaving.values()), default=None)

    def snapshot(self, placed: Mapping[Key, Assignment]) -> Snapshot:
        return Snapshot(
            cameras=self.cameras,
            pools=self.pools,
            relays=tuple(self._pooled(known.relay) for known in self.relays.values()),
            default_pool=self.default_pool,
            placed=placed,
        )

    def _pooled(self, relay: Relay) -> Relay:
        # Renaming a pool must not take the pictures away: the one relay of a machine was started for the old name.
        return relay if relay.pool in self.pools else replace(relay, pool=self.default_pool)

    def _drop_reports(self, uids: Iterable[str]) -> None:
        gone = set(uids)
        self.reports = {key: report for key, report in self.reports.items() if report.relay not in gone}


def _settled(new: T, before: T | None) -> T:
    return before if before is not None and before == new else new
