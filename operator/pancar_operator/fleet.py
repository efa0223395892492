"""Relays in pods: holds what the API server has of them to what is wanted. The operator's `__main__` runs it.

`want` brings each new plan, reflectors bring every object that is managed here, and a round compares the two: it
applies what differs, deletes the Services of pods that are no more, and ends the pods that `endings` names. What is as
it should be is never written, after a restart neither. What fails is the pool's `trouble` (`attempts`).
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

import structlog
from pancar_proto.logs import redact

from pancar_operator import specs
from pancar_operator.api import (
    CONFIG_MAPS,
    DISRUPTION_BUDGETS,
    FIELD_MANAGER,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    Api,
    ApiError,
    ApiUnreachable,
    Body,
    Kind,
)
from pancar_operator.applied import covers
from pancar_operator.attempts import FIRST_PAUSE, Attempts, Obstacle, Task
from pancar_operator.endings import End, Ending, Present, endings
from pancar_operator.hindrances import hindrance
from pancar_operator.model import Key, Pod, RelayPool
from pancar_operator.names import Names
from pancar_operator.observe import Known, MediaAddresses
from pancar_operator.plan import Plan
from pancar_operator.reflector import Reflector

# The authorities may have changed; and what others changed back.
RECHECK_SECONDS: Final = 30.0
OUTAGE_PAUSE: Final = 5.0
# Plans and objects come in bursts.
PACE_SECONDS: Final = 0.1
# A pod may be missing, or without a node, for so long before we ask why; and not be ready on its node.
LATE_SECONDS: Final = 10.0
START_SECONDS: Final = 30.0

# In the order in which pods need them.
_KINDS: Final[Mapping[str, Kind]] = {
    "ConfigMap": CONFIG_MAPS,
    "Service": SERVICES,
    "PodDisruptionBudget": DISRUPTION_BUDGETS,
    "StatefulSet": STATEFUL_SETS,
}

_log = structlog.get_logger(__name__)


class Target(NamedTuple):
    """One object of a kind that is managed here."""

    kind: str
    key: Key

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def path(self) -> str:
        return _KINDS[self.kind].path(self.key.namespace, self.key.name)


class _Taken(Obstacle):
    """An object of the wanted name is somebody else's."""

    def __init__(self, target: Target) -> None:
        super().__init__(
            f"{target} exists and belongs to another. Whoever runs Pancar removes it or gives the pool another name."
        )


class _Built(NamedTuple):
    """The wanted objects of a pool, and what they were made of."""

    of: tuple[object, ...]
    bodies: Mapping[Target, Body]


class Fleet:
    """Driven by `want` with each plan, sync and cheap; `run` never ends by itself.

    No pool is given a size before its StatefulSet, or that there is none, is known to whoever plans.
    """

    def __init__(self, api: Api, known: Known, deployment: specs.Deployment, authorities: Callable[[], bytes]) -> None:
        self._api = api
        self._known = known
        self._deployment = deployment
        self._authorities = authorities
        self._woken = asyncio.Event()
        self._plan: Plan | None = None
        self._live: dict[Target, Body] = {}
        self._sizes: dict[Key, int] = {}
        self._revisions: dict[Key, str] = {}
        # How many relays each pool shall have, by a plan that knew how many there are.
        self._replicas: dict[Key, int] = {}
        self._built: dict[Key, _Built] = {}
        # What was found to be as wanted: the very objects that were compared.
        self._settled: dict[Target, tuple[Body, Body]] = {}
        # What the API server keeps otherwise than it was told, by the body and its version: telling again is no use.
        self._kept_otherwise: dict[Target, tuple[Body, str]] = {}
        self._addresses: dict[str, MediaAddresses] = {}
        self._names = Names(self._woken.set)
        # Since when pods are not ready, and StatefulSets lack some, by uid.
        self._late: dict[str, float] = {}
        self._attempts = Attempts(time.monotonic)
        self._reflectors = [
            Reflector(
                api,
                kind,
                labels=specs.MANAGED,
                put=partial(self._put, name),
                drop=partial(self._drop, name),
                synced=self._woken.set,
            )
            for name, kind in _KINDS.items()
        ]

    @property
    def synced(self) -> bool:
        """Whether everything that is there is known, the sizes of the pools too."""
        return all(reflector.synced for reflector in self._reflectors)

    @property
    def trouble(self) -> Mapping[Key, str]:
        """What keeps a pool's objects from being as they should, for a person."""
        return self._attempts.trouble

    def want(self, plan: Plan) -> None:
        self._plan = plan
        self._replicas = {key: replicas for key, replicas in plan.replicas.items() if key in self._sizes}
        self.count()
        self._woken.set()

    def count(self) -> None:
        """Tells the size of pools that have come, and forgets those that went: best before they are planned."""
        if not self.synced:
            return
        for key in self._known.pool_objects.keys() - self._sizes.keys():
            self._size(key, 0)
        for key in self._sizes.keys() - self._known.pool_objects.keys():
            self._forget(key)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())
            group.create_task(self._names.run())
            group.create_task(self._hold())

    async def _hold(self) -> None:
        wait, outage = RECHECK_SECONDS, 0.0
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                wait, outage = await self._round(), 0.0
            except ApiUnreachable as error:
                outage = min(OUTAGE_PAUSE, max(FIRST_PAUSE, 2 * outage))
                _log.warning("fleet.waits", pause=outage, error=redact(str(error)))
                await asyncio.sleep(outage)
                wait = 0.0
            await asyncio.sleep(PACE_SECONDS)

    async def _round(self) -> float:
        """Everything once; the seconds until it is worth looking again. Raises ApiUnreachable."""
        if self._plan is None or not self.synced:
            return RECHECK_SECONDS
        self._tell_addresses()
        before = self.trouble
        tasks = [*self._ends(self._plan), *self._applies(), *self._deletes(), *self._explains()]
        waits = [RECHECK_SECONDS, await self._attempts.make(tasks), LATE_SECONDS if self._late else None]
        if self.trouble != before:
            self._known.changed.set()
        return min(wait for wait in waits if wait is not None)

    def _ends(self, plan: Plan) -> Iterator[Task]:
        known = self._known
        attached = {uid for uid, relay in known.relays.items() if relay.detached_at is None}
        nodes = known.nodes
        present = Present(known.pods, nodes.names, nodes.lost, attached, self._replicas, self._revisions)
        for end in endings(plan, present):
            pod = Key(end.pod.namespace, end.pod.name)
            yield Task(end.pod.pool, f"Pod {pod}", end.pod.uid, partial(self._end, end))

    def _applies(self) -> Iterator[Task]:
        for key, held in self._known.pool_objects.items():
            pool = self._known.pools.get(key)
            # What a pool leaves to be orphaned must not be made its own again: it would be collected with it.
            if pool is None or held.deleting:
                continue
            for target, wanted in self._wanted(pool, held.uid).items():
                if self._differs(target, wanted):
                    yield Task(key, str(target), wanted, partial(self._apply, target, wanted))

    def _deletes(self) -> Iterator[Task]:
        """Services of pods that are no more, or that need none any more."""
        pods = {Key(pod.namespace, pod.name): pod for pod in self._known.pods.values()}
        for target, body in self._live.items():
            pool = self._known.pools.get(_pool_of(body))
            held = self._known.pool_objects.get(_pool_of(body))
            if pool is None or held is None or not _is_pod_service(target, body) or _controller(body) != held.uid:
                continue
            if target in self._wanted(pool, held.uid) or "deletionTimestamp" in body["metadata"]:
                continue
            pod = pods.get(target.key)
            # Viewers of a pod that is to be replaced come by it still.
            if pod is None or (not specs.has_pod_services(pool) and self._is_current(pod, pool, held.uid)):
                uid = body["metadata"]["uid"]
                yield Task(pool.key, str(target), uid, partial(self._delete, target, uid))

    def _explains(self) -> Iterator[Task]:
        """Asks, once in each pool, why a pod that should be there is not, or is not ready."""
        now = time.monotonic()
        late: dict[str, tuple[Key, str, float]] = {}
        for key in self._replicas:
            body = self._live.get(Target("StatefulSet", key))
            if body is not None and body.get("status", {}).get("replicas", 0) < body["spec"]["replicas"]:
                late[body["metadata"]["uid"]] = key, f"StatefulSet {key}", LATE_SECONDS
        for pod in sorted(self._known.pods.values(), key=lambda pod: pod.ordinal):
            if not (pod.ready or pod.deleting):
                patience = START_SECONDS if pod.node else LATE_SECONDS
                late[pod.uid] = pod.pool, f"Pod {pod.namespace}/{pod.name}", patience
        self._late = {uid: self._late.get(uid, now) for uid in late}
        asked: set[Key] = set()
        for uid, (pool, what, patience) in late.items():
            if pool not in asked and now - self._late[uid] >= patience:
                asked.add(pool)
                yield Task(pool, f"Why {what}", uid, partial(self._explain, pool.namespace, uid, what))

    def _is_current(self, pod: Pod, pool: RelayPool, uid: str) -> bool:
        """Whether the pod is certainly of the wanted template."""
        target = Target("StatefulSet", pool.key)
        live, wanted = self._live.get(target), self._wanted(pool, uid).get(target)
        if live is None or wanted is None or self._differs(target, wanted):
            return False
        return _revision(live) == pod.revision

    def _wanted(self, pool: RelayPool, uid: str) -> Mapping[Target, Body]:
        """The pool's objects as they should be: the very same as long as they should be the same."""
        replicas = self._replicas.get(pool.key)
        of = (pool, uid, replicas, self._authorities())
        built = self._built.get(pool.key)
        if built is None or built.of != of:
            before = {} if built is None else built.bodies
            bodies = {_target(body): body for body in self._bodies(pool, uid, replicas)}
            bodies = {target: body if before.get(target) != body else before[target] for target, body in bodies.items()}
            built = self._built[pool.key] = _Built(of, bodies)
        return built.bodies

    def _bodies(self, pool: RelayPool, uid: str, replicas: int | None) -> Iterator[Body]:
        yield specs.authorities(pool, uid, self._authorities())
        yield specs.headless_service(pool, uid)
        yield specs.disruption_budget(pool, uid)
        if replicas is not None:
            yield specs.stateful_set(pool, uid, replicas, self._deployment)
            if specs.has_pod_services(pool):
                yield from (specs.pod_service(pool, uid, ordinal) for ordinal in range(replicas))

    def _differs(self, target: Target, wanted: Body) -> bool:
        live = self._live.get(target)
        if live is None:
            return True
        if "deletionTimestamp" in live["metadata"]:
            # Its end comes as an event.
            return False
        settled = self._settled.get(target)
        if settled is not None and settled[0] is wanted and settled[1] is live:
            return False
        if not covers(live, wanted, FIELD_MANAGER):
            return self._kept_otherwise.get(target) != (wanted, _version(live))
        self._settled[target] = (wanted, live)
        return False

    async def _apply(self, target: Target, wanted: Body) -> None:
        live = self._live.get(target) or await self._look(target)
        if live is not None and not _ours(live, wanted):
            raise _Taken(target)
        body = await self._api.apply(target.path, wanted)
        _log.info("fleet.applied", what=str(target))
        if not covers(body, wanted, FIELD_MANAGER):
            _log.warning("fleet.kept_otherwise", what=str(target))
            self._kept_otherwise[target] = (wanted, _version(body))
        self._put(target.kind, body)

    async def _look(self, target: Target) -> Body | None:
        """What has the name and is not managed here, or not known to be yet."""
        # A list, because its rights are had anyway.
        path = _KINDS[target.kind].path(target.key.namespace)
        found = await self._api.get(path, fieldSelector=f"metadata.name={target.key.name}")
        return next(iter(found["items"]), None)

    async def _explain(self, namespace: str, uid: str, what: str) -> None:
        message = await hindrance(self._api, namespace, uid)
        if message:
            raise Obstacle(f"{what}: {message}")

    async def _end(self, end: End) -> None:
        pod, forced = end.pod, end.why is Ending.NODE_LOST
        _log.info("pod.ended", pod=f"{pod.namespace}/{pod.name}", relay=pod.uid, why=end.why.value)
        path = PODS.path(pod.namespace, pod.name)
        with _gone_already():
            await self._api.delete(path, uid=pod.uid, grace_seconds=0 if forced else None)

    async def _delete(self, target: Target, uid: str) -> None:
        with _gone_already():
            await self._api.delete(target.path, uid=uid)
        _log.info("fleet.deleted", what=str(target))

    def _tell_addresses(self) -> None:
        """Where viewers reach the media ports of pods that have a Service of their own."""
        told: dict[str, MediaAddresses] = {}
        names: set[str] = set()
        for uid, pod in self._known.pods.items():
            target = Target("Service", Key(pod.namespace, pod.name))
            service = self._live.get(target)
            if service is None or _pool_of(service) != pod.pool or not _is_pod_service(target, service):
                continue
            names.update(specs.balancer_names(service))
            told[uid] = MediaAddresses(
                udp=specs.media_addresses(service, pod, specs.MEDIA, self._names.addresses),
                tcp=specs.media_addresses(service, pod, specs.MEDIA_TCP, self._names.addresses),
            )
        for uid in told.keys() | self._addresses.keys():
            if told.get(uid) != self._addresses.get(uid):
                self._known.put_addresses(uid, told.get(uid, MediaAddresses()))
        self._addresses = told
        self._names.want(names)

    def _put(self, kind: str, body: Body) -> None:
        target = Target(kind, Key(body["metadata"]["namespace"], body["metadata"]["name"]))
        before = self._live.get(target)
        if before is not None and _older(body, before):
            return
        self._live[target] = body
        if kind == "StatefulSet":
            self._note(_pool_of(body), body)
        self._woken.set()

    def _drop(self, kind: str, key: Key, uid: str) -> None:
        target = Target(kind, key)
        live = self._live.get(target)
        if live is None or live["metadata"]["uid"] != uid:
            return
        del self._live[target]
        self._settled.pop(target, None)
        self._kept_otherwise.pop(target, None)
        if kind == "StatefulSet":
            self._size(_pool_of(live), 0)
        self._woken.set()

    def _note(self, pool: Key, stateful_set: Body) -> None:
        self._size(pool, stateful_set["spec"]["replicas"])
        revision = _revision(stateful_set)
        if revision and revision != self._revisions.get(pool):
            self._revisions[pool] = revision
            self._known.put_revision(pool, revision)

    def _forget(self, pool: Key) -> None:
        """The pool is gone; what it owned goes without us, the StatefulSet at last."""
        self._built.pop(pool, None)
        if Target("StatefulSet", pool) not in self._live:
            del self._sizes[pool]
            self._known.put_size(pool, None)
            if self._revisions.pop(pool, None) is not None:
                self._known.put_revision(pool, None)

    def _size(self, pool: Key, replicas: int) -> None:
        if self._sizes.get(pool) != replicas:
            self._sizes[pool] = replicas
            self._known.put_size(pool, replicas)


@contextmanager
def _gone_already() -> Iterator[None]:
    """Deleting what is no more, or is another by now, is no failure."""
    try:
        yield
    except ApiError as error:
        if not (error.not_found or error.conflict):
            raise


def _target(body: Body) -> Target:
    return Target(body["kind"], Key(body["metadata"]["namespace"], body["metadata"]["name"]))


def _pool_of(body: Body) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["labels"][specs.POOL_LABEL])


def _is_pod_service(target: Target, body: Body) -> bool:
    selected: Mapping[str, str] = body["spec"].get("selector", {}) if target.kind == "Service" else {}
    return selected.get(specs.POD_NAME_LABEL) == target.key.name


def _controller(body: Body) -> str:
    """The uid of what it belongs to; empty where that is nothing."""
    owners = body["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _revision(stateful_set: Body) -> str:
    """That of its template; empty until its controller has seen it."""
    status = stateful_set.get("status", {})
    seen = status.get("observedGeneration", 0) >= stateful_set["metadata"]["generation"]
    return str(status.get("updateRevision", "")) if seen else ""


def _ours(live: Body, wanted: Body) -> bool:
    controller = _controller(live)
    if controller:
        return controller == _controller(wanted)
    # Left over from a pool that was deleted without its objects, or restored without their owner.
    labels = live["metadata"].get("labels", {})
    return bool(wanted["metadata"]["labels"].items() <= labels.items())


def _version(body: Body) -> str:
    """Changes when somebody changes what was applied, and where it can be told, not with the status."""
    metadata = body["metadata"]
    return f"{metadata['uid']}/{metadata.get('generation') or metadata['resourceVersion']}"


def _older(one: Body, other: Body) -> bool:
    """Of one object; versions are numbers that grow (KEP-5504), and where not, what came last counts."""
    versions = [body["metadata"]["resourceVersion"] for body in (one, other)]
    if one["metadata"]["uid"] != other["metadata"]["uid"] or not all(version.isdecimal() for version in versions):
        return False
    return int(versions[0]) < int(versions[1])
