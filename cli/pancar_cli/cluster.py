"""Reads from a cluster what `pancar why`, `plan` and `token` tell or use; it writes nothing.

The commands load this module when they are asked for a cluster: Kubernetes' client takes a while to load.

    ClusterError   the cluster cannot be asked, or has no answer; the message says what to do about it
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from kubernetes.aio import config as untyped_config
from pancar_operator import keys, objects
from pancar_operator.access import SigningKey
from pancar_operator.api import (
    CAMERAS,
    CORE_EVENTS,
    NODES,
    PODS,
    POOLS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Api,
    ApiError,
    Kind,
)
from pancar_operator.model import DEFAULT_NAMESPACE, Key, Manifests, Snapshot
from pancar_operator.specs import MANAGED, POOL_LABEL, has_pod_services

from pancar_cli import written
from pancar_cli.facts import CameraFacts, RelayFacts
from pancar_cli.written import Body

# Objects of one answer, as kubectl asks for.
PAGE: Final = 500
# Where the chart is installed by default.
NAMESPACE: Final = "pancar"
NAMED: Final = 3
_OPERATOR: Final = "app.kubernetes.io/name=pancar-operator"
_DEPLOYMENTS: Final = Kind("apps", "v1", "deployments")
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

# The library has no types here.
_config: Final[Any] = untyped_config
T = TypeVar("T")


class ClusterError(Exception):
    """The cluster cannot be asked, or has no answer."""


class Meant(NamedTuple):
    """Which cluster; by default the one whose pod this runs in, else the kubeconfig's present context."""

    kubeconfig: Path | None = None
    context: str | None = None

    def namespace(self) -> str:
        """Of objects that are named without one."""
        if self == Meant() and _POD_NAMESPACE.exists():
            return _POD_NAMESPACE.read_text().strip()
        try:
            contexts, current = _config.list_kube_config_contexts(str(self.kubeconfig) if self.kubeconfig else None)
        except (_config.ConfigException, OSError):
            return DEFAULT_NAMESPACE
        if self.context is not None:
            current = next((each for each in contexts if each["name"] == self.context), {})
        return str((current or {}).get("context", {}).get("namespace") or DEFAULT_NAMESPACE)


class Operator(NamedTuple):
    """An installation of Pancar."""

    namespace: str
    default_pool: Key


def camera(key: Key, meant: Meant) -> tuple[CameraFacts, RelayFacts | None]:
    """What is written about a camera, and about its relay. Raises ClusterError."""
    return _run(_camera(key, meant))


def snapshot(given: Manifests, meant: Meant, namespace: str | None) -> tuple[Snapshot, dict[Key, str]]:
    """What would be planned from, were what is given applied; and cameras that are left out, and why.

    Raises ClusterError.
    """
    return _run(_snapshot(given, meant, namespace))


def signing_key(meant: Meant, namespace: str | None) -> SigningKey:
    """The key that signs viewers' tokens of the installation in a namespace. Raises ClusterError."""
    return _run(_signing_key(meant, namespace))


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except ApiError as error:
        raise ClusterError(_sentence(error)) from error


def _sentence(error: ApiError) -> str:
    if error.status == 0:
        return f"The cluster cannot be asked: {error.message}."
    if error.status in (401, 403):
        return f"The cluster does not let you: {error.message}."
    return f"The cluster does not answer that: {error}."


async def _camera(key: Key, meant: Meant) -> tuple[CameraFacts, RelayFacts | None]:
    async with Api.connect(*meant) as api:
        try:
            body: Body = await api.get(CAMERAS.path(*key))
        except ApiError as error:
            if not error.not_found:
                raise
            raise ClusterError(await _unknown(api, key)) from error
        return written.facts(await _about(api, body))


async def _about(api: Api, body: Body) -> written.About:
    status = objects.camera(body)[1].status
    pool_key = written.pool_of(status)
    unread: list[str] = []

    async def get(kind: Kind, key: Key) -> Body | None:
        try:
            return dict(await api.get(kind.path(*key)))
        except ApiError as error:
            if not error.not_found:
                unread.append(_sentence(error))
            return None

    async def events(kind: str, key: Key) -> tuple[Body, ...]:
        chosen = f"involvedObject.kind={kind},involvedObject.name={key.name}"
        try:
            return tuple((await api.get(CORE_EVENTS.path(key.namespace), fieldSelector=chosen))["items"])
        except ApiError as error:
            unread.append(_sentence(error))
            return ()

    own = events("Camera", objects.key(body))
    if pool_key is None:
        return written.About(body, await own, unread=tuple(unread))
    pod_key = Key(pool_key.namespace, status.relay or "")
    found = await asyncio.gather(own, get(POOLS, pool_key), events("RelayPool", pool_key))
    pod = await get(PODS, pod_key) if status.relay else None
    pool = objects.pool(found[1])[0] if found[1] is not None else None
    service = await get(SERVICES, pod_key) if pod is not None and pool is not None and has_pod_services(pool) else None
    return written.About(body, *found, pod, service, tuple(unread))


async def _unknown(api: Api, key: Key) -> str:
    """That there is no such camera, and which one may be meant."""
    try:
        same = (await api.get(CAMERAS.path(), fieldSelector=f"metadata.name={key.name}", limit=NAMED))["items"]
    except ApiError as error:
        if error.not_found:
            return "The cluster knows no Camera at all: Pancar is not installed in it."
        same = []
    named = " or ".join(f"camera/{objects.key(body)}" for body in same)
    return f"There is no camera {key}." + (f" Is it {named}?" if named else "")


async def _snapshot(given: Manifests, meant: Meant, namespace: str | None) -> tuple[Snapshot, dict[Key, str]]:
    async with Api.connect(*meant) as api:
        operator = await _operator(api, namespace)
        inventory = written.Inventory(
            operator.default_pool,
            await _installed(api),
            await _all(api, POOLS),
            await _all(api, PODS, POOL_LABEL),
            await _all(api, STATEFUL_SETS, MANAGED),
            await _all(api, NODES),
        )
        return written.snapshot(inventory, given)


async def _installed(api: Api) -> list[Body]:
    try:
        return await _all(api, CAMERAS)
    except ApiError as error:
        if error.not_found:
            raise ClusterError("The cluster knows no Camera at all: Pancar is not installed in it.") from error
        raise


async def _all(api: Api, kind: Kind, labels: str = "") -> list[Body]:
    return [body async for body in _pages(api, kind, labels)]


async def _pages(api: Api, kind: Kind, labels: str) -> AsyncIterator[Body]:
    more = ""
    while True:
        page = await api.get(kind.path(), limit=PAGE, labelSelector=labels, **({"continue": more} if more else {}))
        for body in page["items"]:
            yield body
        more = page["metadata"].get("continue", "")
        if not more:
            return


async def _operator(api: Api, namespace: str | None) -> Operator:
    """The installation in a namespace, or the only one there is; as the chart makes it where that cannot be told."""
    usual = namespace or NAMESPACE
    try:
        found = (await api.get(_DEPLOYMENTS.path(namespace or ""), labelSelector=_OPERATOR))["items"]
    except ApiError as error:
        if error.status != 403:
            raise
        found = []
    if len(found) > 1:
        places = ", ".join(sorted(body["metadata"]["namespace"] for body in found))
        raise ClusterError(f"Pancar is installed more than once, in {places}: say with --namespace which one is meant.")
    for body in found:
        usual = body["metadata"]["namespace"]
        for container in body["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", ()):
                if variable["name"] == "PANCAR_DEFAULT_POOL" and variable.get("value"):
                    return Operator(usual, Key(*variable["value"].split("/", 1)))
    return Operator(usual, Key(usual, "default"))


async def _signing_key(meant: Meant, namespace: str | None) -> SigningKey:
    async with Api.connect(*meant) as api:
        where = (await _operator(api, namespace)).namespace
        try:
            return keys.read_signing_key(await api.get(SECRETS.path(where, keys.SIGNING_KEY)))
        except keys.KeysError as error:
            raise ClusterError(str(error)) from None
        except ApiError as error:
            if not error.not_found:
                raise
            raise ClusterError(
                f"There is no Secret {where}/{keys.SIGNING_KEY}; the operator makes it when it first runs. If Pancar "
                "is installed in another namespace, name that with --namespace."
            ) from error
