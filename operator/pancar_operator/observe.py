"""What is known — manifests or objects, pods, relays, their reports — and the `Snapshot` made of it.

The shell tells (`pancar up` what the files say, reflectors what the API server holds, `control` what relays say),
`reconcile` asks. Nothing here does I/O; `now` comes from outside. All calls come from one thread.

Manifests from files and objects from a cluster go one way: `declare` puts and drops like a reflector. Only a cluster
has a default pool from outside, cameras before their Secrets, and pods.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pancar_operator.access import Access
from pancar_operator.model import (
    CREDENTIALS_LABEL,
    DEFAULT_NAMESPACE,
    Assignment,
    Camera,
    CameraObject,
    Credentials,
    Key,
    Manifests,
    Metadata,
    Node,
    Placement,
    Pod,
    PoolObject,
    Refused,
    Relay,
    RelayPool,
    Snapshot,
    WhyRefused,
)
from pancar_operator.nodes import Nodes
from pancar_operator.report import CameraState, Report

T = TypeVar("T")

# For so long a relay whose stream broke keeps its cameras: it goes on pulling them, and most come back at once.
DETACHED_GRACE: Final = 15.0

# And so long a ready one that this operator has not heard yet: it serves its cameras, and another would pull them a
# second time. After an outage of its API server Kubernetes takes up to a minute to tell relays where the operator is.
UNHEARD_GRACE: Final = 75.0

# For so long the credentials of a Secret that is gone are used: whoever replaces one deletes it first.
SECRET_GRACE: Final = 30.0

# The pool where the manifests declare none.
DEFAULT_POOL: Final = RelayPool(metadata=Metadata(name="default", namespace=DEFAULT_NAMESPACE))

# Pods that are gone and whose relay may still attach, as its container ends a moment later.
_DEPARTED_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a relay is reached, as it says itself."""

    http_url: str
    media_addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MediaAddresses:
    """Where viewers reach a relay's media ports ("ip:port"), where it cannot know that itself."""

    udp: tuple[str, ...] = ()
    tcp: tuple[str, ...] = ()


_NOWHERE: Final = MediaAddresses()


@dataclass(frozen=True, slots=True)
class KnownRelay:
    """A relay that is attached, or was a short while ago."""

    relay: Relay
    endpoint: Endpoint
    # Whom it lets in, once it has acknowledged a state.
    access: Access | None = None
    detached_at: float | None = None
    # What it said it holds, until it lives by a state of ours.
    holding: frozenset[Key] = frozenset()
    # False for one that runs and has not attached since this operator leads.
    heard: bool = True


class Known:
    """All that is known; `changed` is set by whatever may change a plan or a status."""

    def __init__(self, now: Callable[[], float], default_pool: Key | None = None) -> None:
        """`default_pool` is the installation's, in a cluster."""
        self._now = now
        self._in_cluster = default_pool is not None
        self.changed = asyncio.Event()
        # The pool of cameras that name none: with files it stays the same for as long as it is declared.
        self.default_pool = default_pool or DEFAULT_POOL.key
        self.pools: dict[Key, RelayPool] = {} if self._in_cluster else {DEFAULT_POOL.key: DEFAULT_POOL}
        self.cameras: dict[Key, Camera] = {}
        self.placements: dict[Key, Placement] = {}
        # As the API server holds them; none on one machine.
        self.objects: dict[Key, CameraObject] = {}
        self.pool_objects: dict[Key, PoolObject] = {}
        # Cameras whose object says `refused`: they are in `objects` and nowhere else.
        self.refused: set[Key] = set()
        self.pods: dict[str, Pod] = {}
        self.nodes = Nodes(now)
        self.relays: dict[str, KnownRelay] = {}
        self.reports: dict[Key, Report] = {}
        self.access = Access()
        self._credentials: dict[Key, Credentials | None] = {}
        # Secrets that are gone, and since when.
        self._leaving: dict[Key, float] = {}
        # Cameras that wait for their Secret, and by Secret those that want it.
        self._waiting: dict[Key, Camera] = {}
        self._wanting: dict[Key, set[Key]] = {}
        self._bitrates: dict[Key, int] = {}
        self._addresses: dict[str, MediaAddresses] = {}
        self._sizes: dict[Key, int] = {}
        self._revisions: dict[Key, str] = {}
        # Relays that asked to be emptied.
        self._asked: set[str] = set()
        # In the order they went.
        self._departed: dict[str, None] = {}

    # What is declared.

    def declare(self, manifests: Manifests) -> None:
        """Replaces what is declared. What did not change stays the same object, so that comparing is cheap."""
        pools = dict(manifests.pools) or {DEFAULT_POOL.key: DEFAULT_POOL}
        for key in self.pools.keys() - pools.keys():
            self.drop_pool(key)
        for key, pool in pools.items():
            self.put_pool(pool, None, key)
        if self.default_pool not in self.pools:
            self.default_pool = min(self.pools, key=lambda key: (key.name != DEFAULT_POOL.key.name, key))
        for key in self._credentials.keys() - manifests.credentials.keys():
            self.drop_credentials(key)
        for key, credentials in manifests.credentials.items():
            self.put_credentials(credentials, key)
        for key in self.cameras.keys() - manifests.cameras.keys():
            self.drop_camera(key)
        for key, camera in manifests.cameras.items():
            self.put_camera(camera, None, key)
        self.changed.set()

    def put_camera(self, camera: Camera | None, written: CameraObject | None, key: Key) -> None:
        """A camera is there, or has changed: None where its manifest means nothing, and `written` says why."""
        before = self.objects.get(key)
        if before is not None and written is not None and before.uid != written.uid:
            self.drop_camera(key)
        if written is not None:
            self.objects[key] = written
        if camera is None:
            self._withdraw(key)
            self.refused.add(key)
        else:
            known = self.cameras.get(key) or self._waiting.get(key)
            if known is None or _secret(known) != _secret(camera):
                self._want(key, known, camera)
            self._settle(key, known if known == camera else camera)
        after = self.objects.get(key)
        # A status that was written, by us as a rule, changes nothing.
        if after is not None and (before is None or _aside_status(before) != _aside_status(after)):
            self.changed.set()

    def held(self, key: Key) -> tuple[Camera, CameraObject] | None:
        """What was put of a camera last, if its manifest meant anything."""
        camera = self.cameras.get(key) or self._waiting.get(key)
        written = self.objects.get(key)
        return None if camera is None or written is None else (camera, written)

    def drop_camera(self, key: Key) -> None:
        self._withdraw(key)
        self.refused.discard(key)
        self._bitrates.pop(key, None)
        if self.objects.pop(key, None) is not None:
            self.changed.set()

    def put_pool(self, pool: RelayPool | None, written: PoolObject | None, key: Key) -> None:
        """A pool is there, or has changed. Where its manifest means nothing (None), what it said before counts on."""
        before = self.pool_objects.get(key)
        if written is not None:
            self.pool_objects[key] = written
            if before is None or (before.uid, before.generation) != (written.uid, written.generation):
                self.changed.set()
        if pool is not None and self.pools.get(key) != pool:
            self.pools[key] = pool
            self.changed.set()

    def drop_pool(self, key: Key) -> None:
        written, pool = self.pool_objects.pop(key, None), self.pools.pop(key, None)
        if written is not None or pool is not None:
            self.changed.set()

    def put_credentials(self, credentials: Credentials | None, key: Key) -> None:
        """A labelled Secret is there, or has changed: None where it holds no user name and password."""
        self._leaving.pop(key, None)
        if key not in self._credentials or self._credentials[key] != credentials:
            self._credentials[key] = credentials
            self._resettle(key)

    def drop_credentials(self, key: Key) -> None:
        """The Secret is gone; on a cluster it may come back within SECRET_GRACE seconds."""
        if not self._in_cluster:
            self._lose(key)
        elif key in self._credentials:
            self._leaving.setdefault(key, self._now())
            self.changed.set()

    def admit(self, access: Access) -> None:
        """Replaces who may enter."""
        if access != self.access:
            self.access = access
            self.changed.set()

    # Where relays run.

    def put_pod(self, pod: Pod) -> None:
        if self.pods.get(pod.uid) != pod:
            self.pods[pod.uid] = pod
            self.changed.set()

    def drop_pod(self, uid: str) -> None:
        """The pod is gone; should its relay still be attached, it is as good as ended."""
        self._addresses.pop(uid, None)
        if self.pods.pop(uid, None) is not None:
            self._departed[uid] = None
            if len(self._departed) > _DEPARTED_KEPT:
                del self._departed[next(iter(self._departed))]
            self.changed.set()

    def put_node(self, node: Node) -> None:
        if self.nodes.put(node):
            self.changed.set()

    def drop_node(self, name: str) -> None:
        if self.nodes.drop(name):
            self.changed.set()

    def put_addresses(self, uid: str, addresses: MediaAddresses) -> None:
        """Where viewers reach the relay, if it cannot know that itself; else none."""
        if self.addresses(uid) != addresses:
            self._addresses[uid] = addresses
            self.changed.set()

    def addresses(self, uid: str) -> MediaAddresses:
        """What `put_addresses` said."""
        return self._addresses.get(uid, _NOWHERE)

    def put_size(self, pool: Key, replicas: int | None) -> None:
        """Relays that the pool has pods for now; None once it has no StatefulSet."""
        self._put(self._sizes, pool, replicas)

    def put_revision(self, pool: Key, revision: str | None) -> None:
        """The revision that a new pod of the pool would be of (`Pod.revision`)."""
        self._put(self._revisions, pool, revision)

    def revision(self, pool: Key) -> str:
        """What `put_revision` said; empty where it said nothing."""
        return self._revisions.get(pool, "")

    # What relays say.

    def attach(self, relay: Relay, endpoint: Endpoint, holding: frozenset[Key] = frozenset()) -> None:
        """A relay has come, and pulls `holding` by the state it lives by."""
        self.relays[relay.uid] = KnownRelay(relay, endpoint, holding=holding)
        # Its container may be another one, in the same pod; if it is the same, it asks again.
        self._asked.discard(relay.uid)
        # It reports every camera anew after this; until then what it said of those it still pulls holds, so that nobody
        # is told of a change when it only comes with another certificate.
        self.reports = {
            key: report for key, report in self.reports.items() if report.relay != relay.uid or key in holding
        }
        self.changed.set()

    def presume(self, uid: str) -> frozenset[Key]:
        """A relay runs and has not attached: it counts as one that pulls the cameras whose statuses name it. Returns
        those."""
        pod = self.pods[uid]
        pool, objects = str(pod.pool), self.objects
        holding = frozenset(
            key
            for key in self.cameras
            if (written := objects.get(key)) and (written.status.pool, written.status.relay) == (pool, pod.name)
        )
        relay, nowhere = Relay(uid, pod.pool), Endpoint("", ())
        self.relays[uid] = KnownRelay(relay, nowhere, detached_at=self._now(), holding=holding, heard=False)
        self.changed.set()
        return holding

    def drain(self, uid: str) -> None:
        """The relay asks for its cameras to be moved away."""
        if uid in self.relays and uid not in self._asked:
            self._asked.add(uid)
            self.changed.set()

    def applied(self, uid: str, access: Access) -> None:
        """The relay lives by a state with this access."""
        known = self.relays.get(uid)
        if known is not None:
            self.relays[uid] = replace(known, access=access, holding=frozenset())
            for key in known.holding - self.cameras.keys():
                self.reports.pop(key, None)
                self._bitrates.pop(key, None)
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
            self._asked.discard(uid)
            self._drop_reports([uid])
            self.changed.set()

    def report(self, camera: Key, report: Report) -> None:
        """A camera that is not declared counts where the relay said that it holds it: the camera may come yet."""
        known, declared = self.relays.get(report.relay), self.cameras.get(camera)
        if declared is not None:
            camera = declared.key  # its strings are there once; those of the message would be kept beside them
        elif known is None or camera not in known.holding:
            return
        self.reports[camera] = report
        if report.bitrate_kbps:
            self._bitrates[camera] = -(-report.bitrate_kbps // 1000)
        self.changed.set()

    def expire(self) -> float | None:
        """Forgets relays detached, and Secrets gone, for too long; returns the seconds until the next one will be, or
        a lost node counts."""
        now, doubt = self._now(), self.nodes.doubt()
        left: list[float] = [] if doubt is None else [doubt]
        for uid, known in list(self.relays.items()):
            if known.detached_at is None:
                continue
            seconds = known.detached_at + (DETACHED_GRACE if known.heard else UNHEARD_GRACE) - now
            if seconds <= 0 or self._has_ended(uid):
                self.forget(uid)
            else:
                left.append(seconds)
        for key, since in list(self._leaving.items()):
            if (seconds := since + SECRET_GRACE - now) > 0:
                left.append(seconds)
            else:
                self._lose(key)
        return min(left, default=None)

    # What is asked.

    def claims(self) -> dict[Key, str]:
        """By camera, the relay that said it holds it: of several the one that the camera's status names, or one."""
        claims: dict[Key, str] = {}
        for uid, known in self.relays.items():
            name = self._name(uid)
            for key in known.holding:
                written = self.objects.get(key)
                if key not in claims or (name and written is not None and written.status.relay == name):
                    claims[key] = uid
        return claims

    def awaited(self) -> frozenset[str]:
        """Relays, by uid, that run by what the API server says and have not attached."""
        lost = self.nodes.lost
        return frozenset(
            uid
            for uid, pod in self.pods.items()
            if pod.running and not pod.deleting and pod.node not in lost and uid not in self.relays
        )

    def snapshot(self, placed: Mapping[Key, Assignment]) -> Snapshot:
        unsettled = self._unsettled(placed)
        return Snapshot(
            cameras=self.cameras.copy(),
            pools=self.pools.copy(),
            relays=tuple(self._seen(uid, known) for uid, known in self.relays.items()),
            default_pool=self.default_pool,
            placed=placed,
            bitrates=self._bitrates.copy(),
            sizes={pool: size for pool, size in self._sizes.items() if pool in self.pools},
            unsettled=unsettled,
            fresh=frozenset(key for key in unsettled if self._is_fresh(key, placed[key].relay)),
        )

    def _seen(self, uid: str, known: KnownRelay) -> Relay:
        """The relay with what its pod tells of it."""
        relay = replace(known.relay, away=known.detached_at is not None)
        draining = relay.draining or uid in self._asked
        pod = self.pods.get(uid)
        if pod is not None:
            current = self._revisions.get(pod.pool)
            return replace(
                relay,
                pool=pod.pool,
                draining=draining or pod.deleting,
                name=pod.name,
                ordinal=pod.ordinal,
                zone=self.nodes.zone(pod.node),
                outdated=bool(current and pod.revision and current != pod.revision),
            )
        if not self._in_cluster and relay.pool not in self.pools:
            # Renaming a pool must not take the pictures away: the one relay of a machine was started for the old name.
            relay = replace(relay, pool=self.default_pool)
        return replace(relay, draining=draining or uid in self._departed)

    def _unsettled(self, placed: Mapping[Key, Assignment]) -> frozenset[Key]:
        """Cameras with which their relay has got nowhere yet: neither live, nor with a reason not to be."""
        reports, waiting = self.reports, CameraState.WAITING
        return frozenset(
            key
            for key, (uid, _) in placed.items()
            if (report := reports.get(key)) is None or report.relay != uid or report.state is waiting
        )

    def _is_fresh(self, key: Key, uid: str) -> bool:
        known = self.relays.get(uid)
        return known is not None and known.detached_at is None and key not in known.holding

    def _name(self, uid: str) -> str:
        pod = self.pods.get(uid)
        return pod.name if pod else ""

    def _has_ended(self, uid: str) -> bool:
        """Whether a relay that is detached will not come back, by what the API server says."""
        pod = self.pods.get(uid)
        if pod is None:
            return uid in self._departed
        return not pod.running or pod.node in self.nodes.lost

    def _want(self, key: Key, before: Camera | None, camera: Camera | None) -> None:
        """Keeps `_wanting`."""
        if before is not None and (secret := _secret(before)) is not None:
            wanting = self._wanting.get(secret, set())
            wanting.discard(key)
            if not wanting:
                self._wanting.pop(secret, None)
        if camera is not None and (secret := _secret(camera)) is not None:
            self._wanting.setdefault(secret, set()).add(key)

    def _lose(self, secret: Key) -> None:
        self._leaving.pop(secret, None)
        self._credentials.pop(secret, None)
        self._resettle(secret)

    def _resettle(self, secret: Key) -> None:
        """The Secret has come, gone or changed."""
        for key in self._wanting.get(secret, ()):
            self._settle(key, self.cameras.get(key) or self._waiting[key])
            self.changed.set()

    def _settle(self, key: Key, camera: Camera) -> None:
        """Files a camera under what there is of its credentials."""
        secret = _secret(camera)
        credentials = self._credentials.get(secret) if secret else None
        written = self.objects.get(key)
        if self._in_cluster and secret is not None and credentials is None and written is not None:
            self.cameras.pop(key, None)
            self._clear(key)
            self._waiting[key] = camera
            self.refused.add(key)
            self.objects[key] = replace(written, refused=_unresolved(secret, there=secret in self._credentials))
            return
        if written is not None and written.refused:
            self.objects[key] = replace(written, refused=None)
        self._waiting.pop(key, None)
        self.refused.discard(key)
        placement = Placement(camera, credentials, written.generation if written else 0)
        if self.placements.get(key) != placement:
            self.cameras[key] = camera
            self.placements[key] = placement
            self.changed.set()

    def _withdraw(self, key: Key) -> None:
        """The camera is none any more."""
        self._want(key, self.cameras.get(key) or self._waiting.get(key), None)
        self._waiting.pop(key, None)
        self._clear(key)
        if self.cameras.pop(key, None) is not None:
            self.changed.set()

    def _clear(self, key: Key) -> None:
        self.placements.pop(key, None)
        report = self.reports.get(key)
        # What a relay holds by an older state, it tells only once.
        if report is not None and ((known := self.relays.get(report.relay)) is None or key not in known.holding):
            del self.reports[key]

    def _put(self, values: dict[Key, T], key: Key, value: T | None) -> None:
        if values.get(key) == value:
            return
        if value is None:
            del values[key]
        else:
            values[key] = value
        self.changed.set()

    def _drop_reports(self, uids: Iterable[str]) -> None:
        gone = set(uids)
        for key in [key for key, report in self.reports.items() if report.relay in gone]:
            del self.reports[key]


def _aside_status(written: CameraObject) -> tuple[int, Refused | None]:
    return written.generation, written.refused


def _secret(camera: Camera) -> Key | None:
    ref = camera.spec.source.credentials_ref
    return None if ref is None else Key(camera.key.namespace, ref.name)


def _unresolved(secret: Key, *, there: bool) -> Refused:
    if there:
        return Refused(
            WhyRefused.UNUSABLE,
            f"spec.source.credentialsRef names Secret {secret}, which holds no username and password that can be read. "
            "Whoever made the Secret mends it.",
        )
    return Refused(
        WhyRefused.UNRESOLVED,
        f"spec.source.credentialsRef names Secret {secret}, which is not there or lacks the label "
        f'{CREDENTIALS_LABEL}: "true". Whoever declares the camera makes it or adds the label.',
    )
