"""kopf's part: RelayPools and Nodes, as they come, go and change; `__main__` runs it in a thread and loop of its own.

In a loop that it shared kopf would end tasks that are not its own. Its handlers are `on.event` only: those write
nothing, where all others leave finalizers or annotations. What kopf does not tell, `Roll` finds: when a listing is
over, and what was deleted while no watch ran (kopf lists anew then, and is silent about what it misses).
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import kopf
import structlog

from pancar_operator.api import NODES, POOLS, Api, ApiError, Body, Kind
from pancar_operator.model import Key

# How long what was deleted unseen may be believed in.
ROLL_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 2.0
_PAGE: Final = 500
_STOP_SECONDS: Final = 5.0

Put = Callable[[Body], None]
Drop = Callable[[Key, str], None]

_log = structlog.get_logger(__name__)


class Roll:
    """Of one kind, every object that is believed to be there, in the operator's loop."""

    def __init__(self, kind: Kind, put: Put, drop: Drop) -> None:
        self.kind = kind
        self._put = put
        self._drop = drop
        self._uids: dict[Key, str] = {}
        # Set once all there are have been told.
        self.synced = False

    def see(self, event: str | None, body: Body) -> None:
        """What a watch says: `event` is kopf's, None for what was there when it began."""
        key, uid = _identity(body)
        if event == "DELETED":
            self._miss(key, uid)
        else:
            self._uids[key] = uid
            self._put(body)

    async def call(self, api: Api) -> None:
        """Compares with what the API server holds. Raises ApiError."""
        before = dict(self._uids)
        present: dict[Key, str] = {}
        async for body in _listed(api, self.kind):
            key, present[key] = _identity(body)
            # Later on only the watch says what is there: a list may be older than what it said last.
            if not self.synced:
                self.see(None, body)
        for key, uid in before.items():
            if present.get(key) != uid:
                self._miss(key, uid)
        self.synced = True

    def _miss(self, key: Key, uid: str) -> None:
        if self._uids.get(key) == uid:
            del self._uids[key]
            self._drop(key, uid)


class Handlers:
    """The operator that kopf runs: tells its rolls, in the loop of whoever runs it, of every event."""

    def __init__(self, api: Api, rolls: tuple[Roll, ...]) -> None:
        self._api = api
        self._rolls = rolls
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def synced(self) -> bool:
        return all(roll.synced for roll in self._rolls)

    async def run(self) -> None:
        """Never returns; raises what ended kopf."""
        for roll in self._rolls:
            await self._call(roll)
        home = asyncio.get_running_loop()
        ended: asyncio.Future[None] = home.create_future()
        thread = threading.Thread(target=self._work, args=(home, ended), name="kopf", daemon=True)
        thread.start()
        try:
            while True:
                await asyncio.wait((ended,), timeout=ROLL_SECONDS)
                if ended.done():
                    raise RuntimeError("kopf has ended") from ended.exception()
                for roll in self._rolls:
                    await self._call(roll)
        finally:
            self._stop.set()
            await asyncio.to_thread(thread.join, _STOP_SECONDS)

    async def alive(self) -> bool:
        """Whether kopf's loop turns, where it has begun to."""
        there = self._loop
        if there is None:
            return True
        home, turned = asyncio.get_running_loop(), asyncio.Event()
        with contextlib.suppress(RuntimeError, TimeoutError):
            there.call_soon_threadsafe(home.call_soon_threadsafe, turned.set)
            async with asyncio.timeout(_RETRY_SECONDS):
                await turned.wait()
        return turned.is_set()

    async def _call(self, roll: Roll) -> None:
        """Calls the roll, for the first time as often as it takes."""
        while True:
            try:
                await roll.call(self._api)
                return
            except ApiError as error:
                _log.warning("roll.not_called", kind=roll.kind.plural, error=str(error))
                if roll.synced:
                    return
            await asyncio.sleep(_RETRY_SECONDS)

    def _work(self, home: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]") -> None:
        """The thread."""
        error: BaseException | None = None
        try:
            asyncio.run(self._operate(home))
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it ends the operator, not this thread alone
            error = raised
        with contextlib.suppress(RuntimeError):
            home.call_soon_threadsafe(_settle, ended, error)

    async def _operate(self, home: asyncio.AbstractEventLoop) -> None:
        self._loop = asyncio.get_running_loop()
        # It tells of every event; and that signals are not its own, which is how it is meant.
        logging.getLogger("kopf").setLevel(logging.WARNING)
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.watching.initial_streaming = True
        settings.process.ultimate_exiting_timeout = None
        await kopf.operator(
            registry=self._registry(home), settings=settings, clusterwide=True, standalone=True, stop_flag=self._stop
        )

    def _registry(self, home: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            # A token in a file is read again by whoever runs us.
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_connection(self._api), home))

        for roll in self._rolls:
            self._watch(registry, roll, home)
        return registry

    @staticmethod
    def _watch(registry: kopf.OperatorRegistry, roll: Roll, home: asyncio.AbstractEventLoop) -> None:
        kind = roll.kind

        @kopf.on.event(group=kind.group, version=kind.version, plural=kind.plural, registry=registry)
        async def seen(event: kopf.RawEvent, **_: Any) -> None:
            home.call_soon_threadsafe(roll.see, event["type"], dict(event["object"]))


def rolls(pools: tuple[Put, Drop], nodes: tuple[Put, Drop]) -> tuple[Roll, ...]:
    """One for each kind that comes by kopf."""
    return (Roll(POOLS, *pools), Roll(NODES, *nodes))


def _settle(ended: "asyncio.Future[None]", error: BaseException | None) -> None:
    if ended.done():
        return
    if isinstance(error, Exception):
        ended.set_exception(error)
    else:
        ended.set_result(None)


def _identity(body: Body) -> tuple[Key, str]:
    metadata = body["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"]), metadata["uid"]


async def _listed(api: Api, kind: Kind) -> AsyncIterator[Body]:
    more = ""
    while True:
        page = await api.get(kind.path(), limit=_PAGE, **({"continue": more} if more else {}))
        for body in page["items"]:
            yield body
        if not (more := page["metadata"].get("continue", "")):
            return


async def _connection(api: Api) -> kopf.ConnectionInfo:
    """How the operator itself speaks to the API server."""
    settings = api.client.configuration
    authorization = (await settings.auth_settings()).get("BearerToken", {}).get("value", "")
    scheme, _, token = str(authorization).rpartition(" ")
    return kopf.ConnectionInfo(
        server=settings.host,
        ca_path=settings.ssl_ca_cert,
        insecure=not settings.verify_ssl,
        certificate_path=settings.cert_file,
        private_key_path=settings.key_file,
        scheme=scheme or None,
        token=token or None,
        proxy_url=settings.proxy,
    )
