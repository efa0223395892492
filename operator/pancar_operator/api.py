"""Speaks to the API server in dicts: get, create, apply, delete, watch.

Everything of the operator that touches Kubernetes, but kopf and the leader's election, goes through here. Who we are
and whom we trust (service account, kubeconfig, TLS, proxies) is the kubernetes client's; requests go by a session of
our own, because its models and its JSON cost three times as much at ten thousand objects.

    ApiError            the API server refused; `reason` is its word ("NotFound", "Conflict")
    └── ApiUnreachable  no answer came; worth a retry
        └── ApiSilent   the connection stood, and nothing came by it
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes.aio import config as untyped_config
from kubernetes.aio.client import ApiClient, Configuration

FIELD_MANAGER: Final = "pancar-operator"
CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 30.0
# Bookmarks come about once a minute: a watch that says nothing for so long is dead.
SILENCE_SECONDS: Final = 90.0
# The library re-reads a service account's token as often.
RELOAD_SECONDS: Final = 60.0

# The library has no types here.
_config: Final[Any] = untyped_config
_APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"

Query = str | int | bool
Body = dict[str, Any]


class Kind(NamedTuple):
    """A kind of object, as paths name it."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of one object, or of all: in a namespace, or everywhere."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        return "/".join([*parts, *(part for part in (name, subresource) if part)])

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


CAMERAS: Final = Kind("pancar.dev", "v1alpha1", "cameras")
POOLS: Final = Kind("pancar.dev", "v1alpha1", "relaypools")
PODS: Final = Kind("", "v1", "pods")
SECRETS: Final = Kind("", "v1", "secrets")
SERVICES: Final = Kind("", "v1", "services")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps")
NODES: Final = Kind("", "v1", "nodes", namespaced=False)
NAMESPACES: Final = Kind("", "v1", "namespaces", namespaced=False)
STATEFUL_SETS: Final = Kind("apps", "v1", "statefulsets")
DISRUPTION_BUDGETS: Final = Kind("policy", "v1", "poddisruptionbudgets")
LEASES: Final = Kind("coordination.k8s.io", "v1", "leases")
EVENTS: Final = Kind("events.k8s.io", "v1", "events")
CORE_EVENTS: Final = Kind("", "v1", "events")
TOKEN_REVIEWS: Final = Kind("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)


class ApiError(Exception):
    """The API server refused. Its message may name fields and objects, never their secrets."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after: float | None = None,
        causes: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(f"{message} ({status} {reason})" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self._causes = causes
        # Seconds it asks us to wait.
        self.retry_after = retry_after

    @property
    def gone(self) -> bool:
        """What a watch or list was to go on from is no more."""
        return self.status == 410

    @property
    def conflict(self) -> bool:
        """Exists already, is another than the precondition names, or a field is another manager's."""
        return self.status == 409

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def namespace_ends(self) -> bool:
        """Nothing can be made in a namespace that is being deleted."""
        return "NamespaceTerminating" in self._causes

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (0, 401, 408, 429) or self.status >= 500


class ApiUnreachable(ApiError):  # noqa: N818 - it says what is
    """No answer came."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class ApiSilent(ApiUnreachable):
    """A watch said nothing for longer than bookmarks take to come."""


class Api:
    """One session with one API server; `connect` makes it."""

    def __init__(self, client: ApiClient, session: aiohttp.ClientSession) -> None:
        # For what is the library's own, as leader election.
        self.client = client
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path | None = None, context: str | None = None) -> AsyncIterator[Self]:
        """As the kubeconfig says; without one as the pod's service account, or else as KUBECONFIG says.

        Raises ApiError where there is nothing to go by.
        """
        async with ApiClient(await _configuration(kubeconfig, context)) as client:
            client.user_agent = FIELD_MANAGER
            connector = aiohttp.TCPConnector(ssl=client.rest_client.ssl_context, limit=0)
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
            # Not trust_env: that asks the environment, in a thread, at each request, which doubles what it costs.
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield cls(client, session)

    async def get(self, path: str, **query: Query) -> Any:
        return await self._answer("GET", path, query)

    async def create(self, path: str, body: Body) -> Any:
        return await self._answer("POST", path, {"fieldManager": FIELD_MANAGER}, body)

    async def apply(self, path: str, body: Body, *, force: bool = True, subresource: str = "") -> Any:
        """Server-side apply: what `body` says is ours, what it said before and no more is given up."""
        path = f"{path}/{subresource}" if subresource else path
        return await self._answer("PATCH", path, {"fieldManager": FIELD_MANAGER, "force": force}, body, _APPLY)

    async def delete(self, path: str, *, uid: str | None = None, grace_seconds: int | None = None) -> Any:
        """Where `uid` is given, only the object that has it: else it is a conflict."""
        body: Body = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        return await self._answer("DELETE", path, {}, body)

    async def stream(self, path: str, **query: Query) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a watch as they come, until the API server ends it. Raises ApiError, also for an ERROR event.

        Silence for longer than bookmarks take to come is ApiSilent.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        async with self._request("GET", path, {**query, "watch": True}, timeout=timeout) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event: dict[str, Any] = _decoded(line, path)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"], path)
                    yield event

    async def _answer(
        self, method: str, path: str, query: dict[str, Query], body: Body | None = None, content: str = _JSON
    ) -> Any:
        async with self._request(method, path, query, body, content) as response:
            return _decoded(await response.read(), path)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: dict[str, Query],
        body: Body | None = None,
        content: str = _JSON,
        **options: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        settings = self.client.configuration
        headers = {"Accept": _JSON, "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content
            options["data"] = orjson.dumps(body)
        if settings.tls_server_name:
            options["server_hostname"] = settings.tls_server_name
        if settings.proxy:
            options.update(proxy=settings.proxy, proxy_headers=settings.proxy_headers)
        params = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
        try:
            for setting in (await settings.auth_settings()).values():
                headers[setting["key"]] = setting["value"]
            async with self._session.request(
                method, settings.host + path, params=params, headers=headers, **options
            ) as response:
                if response.status >= 400:
                    raise await _refused(response, path)
                yield response
        except (aiohttp.ClientError, _config.ConfigException, TimeoutError, OSError) as error:
            # Only a watch has a bound on the silence between two reads.
            silent = isinstance(error, aiohttp.SocketTimeoutError)
            kind = ApiSilent if silent else ApiUnreachable
            raise kind(f"{method} {path}: {error or type(error).__name__}") from error


def _decoded(raw: bytes, path: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(502, "NotUnderstood", f"{path}: what came is no JSON") from error


async def _refused(response: aiohttp.ClientResponse, path: str) -> ApiError:
    body = await response.read()
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        # From before the API server's own code, as a proxy on the way.
        told = {"message": body[:200].decode(errors="replace").strip()}
    after = response.headers.get("Retry-After", "")
    told = {"code": response.status, "reason": response.reason, **told}
    return _refusal(told, path, float(after) if after.isdecimal() else None)


def _refusal(status: dict[str, Any], path: str, retry_after: float | None = None) -> ApiError:
    """From a metav1.Status."""
    message = f"{path}: {status.get('message') or 'no message'}"
    causes = frozenset(cause.get("reason", "") for cause in (status.get("details") or {}).get("causes") or ())
    reason = status.get("reason") or "Unknown"
    return ApiError(status.get("code", 500), reason, message, retry_after=retry_after, causes=causes)


async def _configuration(kubeconfig: Path | None, context: str | None) -> Configuration:
    settings = Configuration()
    try:
        if kubeconfig is None and context is None and _in_pod():
            _config.load_incluster_config(client_configuration=settings)
        else:
            await _load(settings, kubeconfig, context)
            cast(Any, settings).refresh_api_key_hook = _Reload(kubeconfig, context)
    except (_config.ConfigException, OSError) as error:
        where = kubeconfig or _config.KUBE_CONFIG_DEFAULT_LOCATION
        raise ApiError(
            0, "NotConfigured", f"no Kubernetes to speak to: {where}: {error}; name a kubeconfig, as by KUBECONFIG"
        ) from error
    settings.proxy = settings.proxy or _proxy(settings.host)
    return settings


def _proxy(host: str) -> str | None:
    """That of the environment counts, as for kubectl."""
    parts = urlsplit(host)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _in_pod() -> bool:
    return Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()


class _Reload:
    """Reads a kubeconfig again, once a minute while it is used: tokens in files and of plugins run out."""

    def __init__(self, kubeconfig: Path | None, context: str | None) -> None:
        self._named = kubeconfig, context
        self._at = asyncio.get_running_loop().time()

    async def __call__(self, settings: Configuration) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._at >= RELOAD_SECONDS:
            self._at = now
            await _load(settings, *self._named)


async def _load(settings: Configuration, kubeconfig: Path | None, context: str | None) -> None:
    named = str(kubeconfig) if kubeconfig else None
    await _config.load_kube_config(named, context=context, client_configuration=settings, persist_config=False)
