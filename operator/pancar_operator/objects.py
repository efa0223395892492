"""What the API server holds, as the operator reasons about it: the bodies of its objects parsed into `model`. Pure.

Called for every object a reflector or kopf brings, before it goes into `observe`. Ten thousand cameras are kept, so
what many of them have in common (owner, provider, pool, labels, conditions of the same second) is kept once.

A manifest here has passed the API server, so it is refused only where its schema is another's than ours. Fields that
are newer than this operator are passed over, as Kubernetes' own controllers do.
"""

import base64
import binascii
from collections.abc import Callable, Hashable
from datetime import UTC
from sys import intern
from typing import Any, Final, TypeVar

from pancar_proto.logs import redact
from pydantic import TypeAdapter, ValidationError

from pancar_operator.manifests import dotted
from pancar_operator.model import (
    Camera,
    CameraObject,
    Credentials,
    Key,
    Node,
    Pod,
    PoolObject,
    Refused,
    RelayPool,
    WhyRefused,
)
from pancar_operator.plan import ZONE_LABEL
from pancar_operator.sentences import sentence
from pancar_operator.specs import POOL_LABEL
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, StatusCondition, VideoStatus

_CONTAINER: Final = "relay"
_REVISION: Final = "controller-revision-hash"
# Problems that are told of one manifest.
_TOLD: Final = 3

Body = dict[str, Any]
H = TypeVar("H", bound=Hashable)
S = TypeVar("S", CameraStatus, RelayPoolStatus)
T = TypeVar("T")
V = TypeVar("V", bound=Hashable | None)

_CAMERA: Final = TypeAdapter(Camera)
_POOL: Final = TypeAdapter(RelayPool)
_CAMERA_STATUS: Final = TypeAdapter(CameraStatus)
_CONDITION: Final = TypeAdapter(StatusCondition)
_VIDEO: Final = TypeAdapter(VideoStatus)
_POOL_STATUS: Final = TypeAdapter(RelayPoolStatus)


class _Once(dict[H, T]):
    """Keeps one value for each key, up to a bound beyond which it begins anew: those that are alike come together."""

    BOUND: Final = 2_000

    def keep(self, key: H, value: T) -> T:
        if len(self) >= self.BOUND:
            self.clear()
        return self.setdefault(key, value)


_NO_ANNOTATIONS: Final[dict[str, str]] = {}
_labels: Final = _Once[tuple[tuple[str, str], ...], dict[str, str]]()
_parts: Final = _Once[tuple[tuple[str, object], ...], Any]()
_values: Final = _Once[Any, Any]()


def _once(value: V) -> V:
    """A value that is equal, and the same each time."""
    kept: V = value if value is None else _values.keep(value, value)
    return kept


def key(body: Body) -> Key:
    metadata = body["metadata"]
    return Key(intern(metadata.get("namespace", "")), metadata["name"])


def camera(body: Body, held: tuple[Camera, CameraObject] | None = None) -> tuple[Camera | None, CameraObject]:
    """The camera, None where its manifest means nothing to this operator, and what else its object says.

    `held` is what was read of the object before: most of what comes is the echo of a status that we wrote.
    """
    metadata, spec = body["metadata"], body.get("spec")
    uid, generation = metadata["uid"], metadata.get("generation", 0)
    known = (uid, generation, metadata.get("labels", {}))
    parsed: Camera | str
    if held is not None and known == (held[1].uid, held[1].generation, held[0].metadata.labels):
        parsed = held[0]
    elif isinstance(spec, dict) and "paused" in spec and spec["paused"] is None:
        # Dropped it would show a camera that somebody meant to pause.
        parsed = "spec.paused has no value; give it a reason or remove it"
    else:
        parsed = _parsed(_CAMERA, body)
        parsed = parsed if isinstance(parsed, str) else _compact(parsed)
    status = _status(_CAMERA_STATUS, body.get("status"), CameraStatus())
    if isinstance(parsed, str):
        return None, CameraObject(uid, generation, status, refused=Refused(WhyRefused.INVALID, parsed))
    return parsed, CameraObject(uid, generation, status)


def pool(body: Body) -> tuple[RelayPool | None, PoolObject]:
    """The pool, None where its manifest means nothing to this operator, and what else its object says."""
    parsed = _parsed(_POOL, body)
    metadata = body["metadata"]
    written = PoolObject(
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        status=_status(_POOL_STATUS, body.get("status"), RelayPoolStatus()),
        deleting="deletionTimestamp" in metadata,
    )
    return (None if isinstance(parsed, str) else parsed), written


def credentials(body: Body) -> Credentials | None:
    """Of a Secret; None where it holds no user name and password that can be sent to a camera."""
    data = body.get("data") or {}
    username, password = _text(data, "username"), _text(data, "password")
    return Credentials(username, password) if username and password is not None else None


def pod(body: Body) -> Pod | None:
    """A relay's pod; None where it is none, whatever its labels say: the operator deletes some of these."""
    metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    labels = metadata.get("labels", {})
    named, _, ordinal = metadata["name"].rpartition("-")
    owned = any(_is_set(owner, named) for owner in metadata.get("ownerReferences", ()))
    if not owned or named != labels.get(POOL_LABEL) or not ordinal.isdecimal():
        return None
    containers = status.get("containerStatuses") or ()
    return Pod(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        pool=Key(metadata["namespace"], named),
        ordinal=int(ordinal),
        node=intern(spec.get("nodeName") or ""),
        ip=status.get("podIP") or "",
        host_ips=tuple(intern(each["ip"]) for each in status.get("hostIPs", ())),
        running=any(each["name"] == _CONTAINER and "running" in each.get("state", {}) for each in containers),
        ready=_holds(status, "Ready"),
        deleting="deletionTimestamp" in metadata,
        revision=intern(labels.get(_REVISION, "")),
    )


def node(body: Body) -> Node:
    metadata = body["metadata"]
    return Node(
        name=intern(metadata["name"]),
        ready=_holds(body.get("status", {}), "Ready"),
        zone=intern(metadata.get("labels", {}).get(ZONE_LABEL, "")),
    )


def _is_set(owner: Body, name: str) -> bool:
    return owner["kind"] == "StatefulSet" and owner["name"] == name and owner.get("controller") is True


def _holds(status: Body, condition: str) -> bool:
    return any(each["type"] == condition and each["status"] == "True" for each in status.get("conditions") or ())


def _text(data: Body, name: str) -> str | None:
    try:
        text = base64.b64decode(data[name], validate=True).decode()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
        return None
    # What base64 brings along: a line break would end the header of an RTSP request.
    text = text.removesuffix("\n").removesuffix("\r")
    return None if any(ord(character) < 32 or ord(character) == 127 for character in text) else text


def _parsed(adapter: TypeAdapter[T], body: Body) -> T | str:
    """The manifest in the object, or why it is none."""
    metadata = {name: value for name, value in body["metadata"].items() if name in ("name", "namespace", "labels")}
    manifest = {"metadata": metadata, **({"spec": body["spec"]} if "spec" in body else {})}
    while True:
        try:
            return adapter.validate_python(manifest, by_alias=True, by_name=False)
        except ValidationError as error:
            details = error.errors(include_url=False)
        if any(detail["type"] != "unexpected_keyword_argument" for detail in details):
            told = [f"{dotted(detail['loc'])} {sentence(detail, adapter)}" for detail in details[:_TOLD]]
            return redact("; ".join(told))
        for detail in details:
            _remove(manifest, detail["loc"])


def _remove(value: Any, path: tuple[int | str, ...]) -> None:
    for step in path[:-1]:
        value = value[step]
    del value[path[-1]]


def _compact(parsed: Camera) -> Camera:
    """The same camera in less memory. Nobody has seen it yet, so that it may be changed still."""
    spec, metadata, place = parsed.spec, parsed.metadata, parsed.spec.location
    put = object.__setattr__
    put(metadata, "namespace", intern(metadata.namespace))
    put(metadata, "labels", _labels.keep(tuple(sorted(metadata.labels.items())), metadata.labels))
    put(metadata, "annotations", _NO_ANNOTATIONS)
    put(spec.source, "credentials_ref", _once(spec.source.credentials_ref))
    put(spec, "owner", _once(spec.owner))
    put(spec, "provider", _once(spec.provider))
    put(spec, "pool_ref", _once(spec.pool_ref))
    if place is not None:
        put(place, "site", _once(place.site))
        put(place, "district", _once(place.district))
        put(place, "subdistrict", _once(place.subdistrict))
        if place.coordinates is None:
            put(spec, "location", _once(place))
    return parsed


def _status(adapter: TypeAdapter[S], body: Body | None, empty: S) -> S:
    """What was written; nothing where it cannot be read, and it will be written anew."""
    if not body:
        return empty
    try:
        known = {**body, "conditions": tuple(_part(each, _condition) for each in body.get("conditions", ()))}
        if "video" in body:
            known["video"] = _part(body["video"], _VIDEO.validate_python)
        if "relay" in body:
            known["relay"] = intern(body["relay"])
        parsed = adapter.validate_python(known, by_alias=True, by_name=False)
    except ValidationError:
        return empty
    object.__setattr__(parsed, "conditions", _once(parsed.conditions))
    return parsed


def _part(body: Body, parse: Callable[[Body], T]) -> T:
    key = tuple(body.items())
    kept: T | None = _parts.get(key)
    return _parts.keep(key, parse(body)) if kept is None else kept


def _condition(body: Body) -> StatusCondition:
    parsed = _CONDITION.validate_python(body, by_alias=True, by_name=False)
    put = object.__setattr__
    put(parsed, "type", intern(parsed.type))
    put(parsed, "reason", intern(parsed.reason))
    put(parsed, "message", _once(parsed.message))
    # A time zone of its own for each would take as much as the time.
    put(parsed, "last_transition_time", parsed.last_transition_time.astimezone(UTC))
    return parsed
