"""Composition root of the operator: `python -m pancar_operator`, configured by its environment (see `settings`).

Waits for its turn to lead, makes the parts, hands them to each other, and takes them down in order: on SIGTERM or
SIGINT, its Lease given up; with an error where it must not lead any more or any part fails. Whatever it was, the next
process begins anew, from what the API server holds and relays say.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import grpc.aio
import structlog
from pancar_proto import logs

from pancar_operator import keys, objects, specs
from pancar_operator.access import Access
from pancar_operator.api import CAMERAS, PODS, SECRETS, Api, ApiError
from pancar_operator.authority import Issuer
from pancar_operator.control import ControlPlane
from pancar_operator.enrol import Enrolment
from pancar_operator.fleet import Fleet
from pancar_operator.handlers import Handlers, rolls
from pancar_operator.health import health
from pancar_operator.keys import KeysError
from pancar_operator.leader import LEASE_SECONDS, RETRY_SECONDS, Leader
from pancar_operator.model import CREDENTIALS_LABEL, Key
from pancar_operator.observe import Known
from pancar_operator.reconcile import PATIENCE, Reconciler, Round, gathered
from pancar_operator.reflector import Reflector
from pancar_operator.settings import Settings, SettingsError
from pancar_operator.statuses import Statuses
from pancar_operator.tokenreview import PodTokens

_GRACE_SECONDS: Final = 0.2
# A Lease is taken so long after its last renewal at the latest, where the other replica saw it run out.
OUTAGE_SECONDS: Final = LEASE_SECONDS + 4 * RETRY_SECONDS

log = structlog.get_logger()


class Leading:
    """All parts of an operator that leads; `run` holds them together."""

    def __init__(self, api: Api, settings: Settings, term: int, issuer: Issuer, access: Access) -> None:
        self._api = api
        self._settings = settings
        self._issuer = issuer
        self._known = known = Known(time.monotonic, settings.default_pool)
        known.admit(access)
        self._control = ControlPlane(known, term=term, link_used=_link_used)
        self._enrolment = Enrolment(issuer, PodTokens(api, known).verify)
        self._fleet = Fleet(api, known, settings.deployment, lambda: issuer.bundle)
        self._statuses = Statuses(api, known, _now, trouble=lambda: self._fleet.trouble, instance=settings.identity)
        self._reconciler = Reconciler(known, self._control, self._tell)
        self.handlers = Handlers(api, rolls((self._put_pool, self._drop_pool), (self._put_node, self._drop_node)))
        self._reflectors = (
            Reflector(api, CAMERAS, put=self._put_camera, drop=self._drop_camera),
            Reflector(api, SECRETS, labels=CREDENTIALS_LABEL, put=self._put_secret, drop=self._drop_secret),
            Reflector(api, PODS, labels=specs.POOL_LABEL, put=self._put_pod, drop=self._drop_pod),
        )
        self.listening = False

    def after_outage(self) -> None:
        """The API server may have been away. Called before `run`."""
        self._known.nodes.after_outage()

    async def run(self) -> None:
        """Never returns; raises what failed. Raises OSError where it cannot listen."""
        listening = [
            self._control.listen(str(self._settings.attach_listen), self._issuer.current),
            self._enrolment.listen(str(self._settings.enrol_listen)),
        ]
        servers = [server for server, _ in listening]
        try:
            for server in servers:
                await server.start()
            self.listening = True
            log.info("operator.listening", attach=listening[0][1], enrol=listening[1][1])
            await _first_end(
                {
                    "keys": keys.follow(self._api, self._settings.namespace, self._issuer, self._known.admit, _now),
                    "kopf": self.handlers.run(),
                    "reconcile": self._reconcile(),
                    "fleet": self._fleet.run(),
                    "statuses": self._statuses.run(),
                    **{f"reflector-{number}": reflector.run() for number, reflector in enumerate(self._reflectors)},
                }
            )
        finally:
            await _stopped(servers)

    async def _reconcile(self) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await gathered(self._known, lambda: self._synced, deadline)
        known = self._known
        log.info("operator.gathered", cameras=len(known.cameras), pools=len(known.pools), relays=len(known.relays))
        self._fleet.count()
        self._reconciler.once()
        # Ten thousand cameras need not be looked at by every collection.
        gc.collect()
        gc.freeze()
        await self._reconciler.run()

    @property
    def _synced(self) -> bool:
        return self.handlers.synced and self._fleet.synced and all(reflector.synced for reflector in self._reflectors)

    def _tell(self, told: Round) -> None:
        self._fleet.want(told.plan)
        self._statuses.note(told)

    def _put_camera(self, body: dict[str, Any]) -> None:
        key = objects.key(body)
        self._known.put_camera(*objects.camera(body, self._known.held(key)), key)

    def _drop_camera(self, key: Key, _uid: str) -> None:
        self._known.drop_camera(key)

    def _put_secret(self, body: dict[str, Any]) -> None:
        self._known.put_credentials(objects.credentials(body), objects.key(body))

    def _drop_secret(self, key: Key, _uid: str) -> None:
        self._known.drop_credentials(key)

    def _put_pod(self, body: dict[str, Any]) -> None:
        pod = objects.pod(body)
        if pod is None:
            self._known.drop_pod(body["metadata"]["uid"])
        else:
            self._known.put_pod(pod)

    def _drop_pod(self, _key: Key, uid: str) -> None:
        self._known.drop_pod(uid)

    def _put_pool(self, body: dict[str, Any]) -> None:
        self._known.put_pool(*objects.pool(body), objects.key(body))
        self._fleet.count()

    def _drop_pool(self, key: Key, _uid: str) -> None:
        self._known.drop_pool(key)

    def _put_node(self, body: dict[str, Any]) -> None:
        self._known.put_node(objects.node(body))

    def _drop_node(self, key: Key, _uid: str) -> None:
        self._known.drop_node(key.name)


class Operator:
    """One replica, from its start to its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._leader: Leader | None = None
        self._leading: Leading | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> bool:
        """Whether it ended because it was told to. Raises ApiError, KeysError and OSError where it cannot begin."""
        async with (
            health(self._settings.health_listen, self._alive, self._ready) as address,
            Api.connect() as api,
        ):
            log.info("operator.started", identity=self._settings.identity, health=str(address))
            leader = self._leader = Leader(Api.connect, self._settings.namespace, self._settings.identity, _overdue)
            ended = asyncio.create_task(self._lead(api, leader), name="operator")
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            try:
                if ended.done():
                    ended.result()
                    return False
                log.info("operator.stopping")
                return True
            finally:
                await _cancelled((ended, stopping))
                # Last of all: nothing of ours writes any more when another begins to.
                await leader.release()

    async def _lead(self, api: Api, leader: Leader) -> None:
        term = await leader.lead()
        namespace = self._settings.namespace
        issuer = Issuer(await keys.authorities(api, namespace, _now()), _now)
        access = Access(keys=((await keys.signing_key(api, namespace)).public,))
        self._leading = Leading(api, self._settings, term, issuer, access)
        if leader.vacancy > OUTAGE_SECONDS:
            # Nobody could, or nobody was there; in the latter case it costs patience alone.
            self._leading.after_outage()
        await _first_end({"lease": _lost(leader), "leading": self._leading.run()})

    async def _alive(self) -> str:
        """That this is answered shows that the loop turns."""
        if self._leading is not None and not await self._leading.handlers.alive():
            return "kopf's loop does not turn"
        return ""

    async def _ready(self) -> str:
        if self._leading is not None:
            # Relays reach only who is ready, and the first plan waits for them.
            return "" if self._leading.listening else "it leads, and does not listen yet"
        return "" if self._leader is not None and self._leader.informed else "it has not seen the Lease yet"


class Ended(Exception):  # noqa: N818 - it says what happened
    """A part that runs for ever has ended; the cause is what ended it."""


async def _first_end(parts: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Runs all until one ends, which none does but by failing; then ends all, and raises Ended."""
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancelled(tasks)
    for task in done:
        raise Ended(task.get_name()) from (None if task.cancelled() else task.exception())


async def _cancelled(tasks: "Iterable[asyncio.Task[Any]]") -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)


async def _lost(leader: Leader) -> None:
    log.error("leader.lost", reason=await leader.lost())


def _overdue() -> None:
    """Another may lead by now: nothing of ours must write any more, not even to end in order."""
    log.critical("operator.overdue")
    os._exit(1)


async def _stopped(servers: list[grpc.aio.Server]) -> None:
    await asyncio.gather(*(server.stop(_GRACE_SECONDS) for server in servers))


def _link_used(code_sha256: bytes) -> None:
    """One-time links are made on one machine only: here none can have been good."""
    log.warning("link.unknown", sha256=code_sha256.hex()[:8])


def _now() -> datetime:
    return datetime.now(UTC)


async def _run(settings: Settings) -> bool:
    operator = Operator(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, operator.stop)
    return await operator.run()


def main() -> int:
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"pancar operator: {error}", file=sys.stderr)  # noqa: T201 - the log's format is among what failed
        return 2
    logs.configure(settings.log_format)
    log.info("operator.starting", version=version("pancar"), identity=settings.identity)
    try:
        stopped = asyncio.run(_run(settings))
    except Ended as ended:
        log.critical("operator.ended", part=str(ended), exc_info=ended.__cause__)
        return 1
    except (ApiError, KeysError, OSError) as error:
        log.critical("operator.not_started", error=str(error))
        return 1
    log.info("operator.stopped")
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main())
