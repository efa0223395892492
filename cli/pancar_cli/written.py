"""From what a cluster's API server holds to facts about a camera and to the snapshot of a plan. Pure; `cluster` reads.

What is known only to the operator is not written anywhere: how many megabits a camera sends, which relays have
attached. A relay whose container runs counts as attached here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pancar_operator import objects
from pancar_operator.model import (
    Assignment,
    Camera,
    CameraObject,
    Exposure,
    Key,
    Manifests,
    Node,
    Pod,
    PoolObject,
    Relay,
    RelayPool,
    Snapshot,
    Why,
    WhyRefused,
)
from pancar_operator.specs import HTTPS_PORT, has_pod_services
from pancar_operator.status import Condition, Conditions
from pancar_operator.statusfields import CameraStatus, StatusCondition, Truth

from pancar_cli.facts import CameraFacts, Happening, RelayFacts, Told

# The Events of a camera's pool that are told of the camera too.
POOL_EVENTS: Final = 5

_REFUSALS: Final = frozenset(why.value for why in WhyRefused)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What was read about one camera; None or empty where it is not there, or may not be read."""

    camera: Body
    events: tuple[Body, ...] = ()
    pool: Body | None = None
    pool_events: tuple[Body, ...] = ()
    pod: Body | None = None
    # The relay's own, where it has one.
    service: Body | None = None
    # What could not be read, and why.
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was read for a plan."""

    default_pool: Key
    cameras: Iterable[Body]
    pools: Iterable[Body]
    pods: Iterable[Body]
    stateful_sets: Iterable[Body]
    nodes: Iterable[Body]


def pool_of(status: CameraStatus) -> Key | None:
    """The pool that a camera's status names."""
    namespace, _, name = (status.pool or "").partition("/")
    return Key(namespace, name) if name else None


def facts(about: About) -> tuple[CameraFacts, RelayFacts | None]:
    """About a camera, and about the relay that its status names."""
    written = objects.camera(about.camera)[1]
    status = written.status
    conditions = {condition.type: condition for condition in status.conditions}
    ready, placed = conditions.get("Ready"), conditions.get("Placed")
    if ready is None or placed is None:
        return CameraFacts(notes=(_NO_OPERATOR, *about.unread)), None
    events = _events(about)
    history = (Happening(ready.last_transition_time, _conditions(conditions).phase, ready.reason, ready.message),)
    notes = tuple(_notes(about, written, ready))
    pool = pool_of(status)
    if placed.status is not Truth.TRUE or not status.relay or pool is None:
        return CameraFacts(history=history, notes=notes, events=events), None
    pod = objects.pod(about.pod) if about.pod is not None else None
    uid = pod.uid if pod else status.relay
    since, certain = _since(placed, status.relay, events, about.pod)
    camera = CameraFacts(
        assignment=Assignment(uid, _why(placed.reason)),
        since=since,
        history=history,
        perhaps_later=not certain,
        notes=notes,
        events=events,
    )
    relay = Relay(uid, pool, name=status.relay)
    return camera, RelayFacts(relay, _url(about, pod) if pod else "", pod.node if pod else "")


_NO_OPERATOR: Final = "No operator has looked at it yet. Is one running, and does it run well? Its logs tell."


def _why(reason: str) -> Why:
    return Why(reason) if reason in set(Why) else Why.NEW


def _conditions(written: Mapping[str, StatusCondition]) -> Conditions:
    unknown = Condition(Truth.UNKNOWN, "")
    placed, connected, ready, paused = (
        Condition(found.status, found.reason, found.message) if (found := written.get(kind)) else unknown
        for kind in ("Placed", "Connected", "Ready", "Paused")
    )
    return Conditions(placed, connected, ready, paused)


def _notes(about: About, written: CameraObject, ready: StatusCondition) -> Iterable[str]:
    seen = written.status.observed_generation or 0
    if seen < written.generation:
        yield (
            f"The operator has not looked at its latest change yet (generation {written.generation}): this is told of "
            f"generation {seen}."
        )
    relay = written.status.relay
    if relay and about.pod is None and not about.unread:
        yield f"The pod {relay} is gone. The operator should place the camera elsewhere now; if not, see its logs."
    pod = objects.pod(about.pod) if about.pod is not None else None
    if pod is not None and (pod.deleting or not pod.ready):
        state = "is ending" if pod.deleting else "is not ready" if pod.running else "does not run"
        look = f"kubectl describe pod --namespace {pod.namespace} {pod.name}"
        yield f"The pod {pod.name} {state}; `{look}` tells more."
    if about.pool is not None and ready.status is not Truth.TRUE:
        key = objects.key(about.pool)
        for condition in objects.pool(about.pool)[1].status.conditions:
            if condition.status is not Truth.TRUE:
                cause = ": ".join(part for part in (condition.reason, condition.message) if part)
                yield f"RelayPool {key} is not {_AS[condition.type]}: {cause}" if condition.type in _AS else cause
    yield from about.unread


_AS: Final = {"Ready": "ready", "Scaled": "of its size", "UpToDate": "up to date"}


def _since(placed: StatusCondition, relay: str, events: Iterable[Told], pod: Body | None) -> tuple[datetime, bool]:
    """When the camera came to its relay, and whether that is certain: Placed stays True while it moves."""
    named = re.compile(rf"relay {re.escape(relay)}(?: of|:)")
    came = [event.at for event in events if event.reason in ("Placed", "Moved") and named.search(event.message)]
    moment = placed.last_transition_time
    if came and came[-1] >= moment:
        return came[-1], True
    started = None if pod is None else _moment(pod["metadata"].get("creationTimestamp"))
    if started is not None and started > moment:
        return started, False
    return moment, placed.reason == Why.NEW


def _events(about: About) -> tuple[Told, ...]:
    uid = about.camera["metadata"]["uid"]
    found = [_told(body) for body in about.events if body["involvedObject"].get("uid", uid) == uid]
    if about.pool is not None:
        key = objects.key(about.pool)
        of_pool = sorted((_told(body, f"RelayPool {key}: ") for body in about.pool_events), key=lambda told: told.at)
        found += of_pool[-POOL_EVENTS:]
    return tuple(sorted(found, key=lambda told: told.at))


def _told(body: Body, before: str = "") -> Told:
    stamps = (body.get(name) for name in ("lastTimestamp", "eventTime", "firstTimestamp"))
    at = next((moment for stamp in stamps if (moment := _moment(stamp)) is not None), None)
    return Told(
        at or datetime.fromisoformat(body["metadata"]["creationTimestamp"]),
        body.get("reason") or "",
        before + (body.get("message") or ""),
        body.get("count") or 1,
        _moment(body.get("firstTimestamp")),
    )


def _moment(stamp: str | None) -> datetime | None:
    return datetime.fromisoformat(stamp) if stamp else None


def _url(about: About, pod: Pod) -> str:
    """Where a viewer finds the relay; empty while nobody knows."""
    pool = objects.pool(about.pool)[0] if about.pool is not None else None
    if pool is None:
        return ""
    exposure, service = pool.spec.media.exposure, about.service
    if not has_pod_services(pool):
        host = pod.ip if exposure is Exposure.POD_IP else pod.host_ip
        return _https(host, HTTPS_PORT)
    if service is None:
        return ""
    if exposure is Exposure.LOAD_BALANCER:
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        return _https(ingress[0].get("ip") or ingress[0].get("hostname") or "", HTTPS_PORT)
    port = next((port.get("nodePort", 0) for port in service["spec"]["ports"] if port["name"] == "https"), 0)
    return _https(pod.host_ip, port)


def _https(host: str, port: int) -> str:
    if not (host and port):
        return ""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def snapshot(inventory: Inventory, given: Manifests) -> tuple[Snapshot, dict[Key, str]]:
    """What would be planned from, were what is given applied; and why cameras are left out that mean nothing."""
    cameras: dict[Key, Camera] = {}
    refused: dict[Key, str] = {}
    placed: dict[Key, Assignment] = {}
    pools = _pools(inventory.pools)
    pods = [pod for body in inventory.pods if (pod := objects.pod(body)) is not None]
    sets = list(inventory.stateful_sets)
    relays = tuple(_relays(pods, sets, [objects.node(body) for body in inventory.nodes]))
    by_name = {Key(relay.pool.namespace, relay.name): relay.uid for relay in relays}
    for body in inventory.cameras:
        camera, written = objects.camera(body)
        key = objects.key(body)
        if key not in given.cameras and (why := _refusal(written)):
            refused[key] = why
        elif camera is not None:
            cameras[key] = camera
        if (assignment := _assigned(written.status, by_name)) is not None:
            placed[key] = assignment
    made = Snapshot(
        cameras={**cameras, **given.cameras},
        pools={**pools, **given.pools},
        relays=relays,
        default_pool=inventory.default_pool,
        placed=placed,
        sizes={**dict.fromkeys(given.pools, 0), **{objects.key(body): body["spec"]["replicas"] for body in sets}},
    )
    return made, refused


def _pools(bodies: Iterable[Body]) -> dict[Key, RelayPool]:
    parsed: Iterable[tuple[RelayPool | None, PoolObject]] = map(objects.pool, bodies)
    return {pool.key: pool for pool, _ in parsed if pool is not None}


def _refusal(written: CameraObject) -> str:
    """Why the operator leaves a camera out, as it said itself of this generation, or as it would."""
    for condition in written.status.conditions:
        spoken = condition.type == "Placed" and condition.observed_generation == written.generation
        if spoken and condition.reason in _REFUSALS:
            return condition.message
    return written.refused.message if written.refused else ""


def _assigned(status: CameraStatus, by_name: Mapping[Key, str]) -> Assignment | None:
    pool = pool_of(status)
    placed = next((each for each in status.conditions if each.type == "Placed"), None)
    if pool is None or not status.relay or placed is None or placed.status is not Truth.TRUE:
        return None
    return Assignment(by_name.get(Key(pool.namespace, status.relay), status.relay), _why(placed.reason))


def _relays(pods: Iterable[Pod], sets: Iterable[Body], nodes: Iterable[Node]) -> Iterable[Relay]:
    known = {node.name: node for node in nodes}
    revisions = {objects.key(body): body.get("status", {}).get("updateRevision", "") for body in sets}
    for pod in pods:
        node = known.get(pod.node, Node(pod.node))
        if not pod.running or not node.ready:
            continue
        current = revisions.get(pod.pool)
        yield Relay(
            pod.uid,
            pod.pool,
            draining=pod.deleting,
            name=pod.name,
            ordinal=pod.ordinal,
            zone=node.zone,
            outdated=bool(current and pod.revision and current != pod.revision),
        )
