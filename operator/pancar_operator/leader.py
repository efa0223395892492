"""Which replica leads: a Lease, held and renewed; called by `__main__`, which runs nothing unless leading.

The election is the kubernetes client's. Its lock is mended here: it lets connection errors escape while whoever led
goes on leading, waits for an answer for as long as it takes, passes an argument that its own client refuses, counts no
transitions and writes local time as UTC. Deadlines go by the monotonic clock here, by the wall's clock there.
"""

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any, Final, TypeVar

import aiohttp
import structlog
from kubernetes.aio.client import V1Lease, V1LeaseSpec, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from pancar_operator.api import Api

LEASE: Final = "pancar-operator"
# Kubernetes' own controllers take 15 and 10. With these the next leader begins about when Kubernetes gives a node up:
# one that takes the leader and a relay with it costs little more than one that takes a relay alone.
LEASE_SECONDS: Final = 12
RENEW_DEADLINE: Final = 8
RETRY_SECONDS: Final = 2
# Of one request: two, a read and a write, fit between a failed renewal and the deadline.
_REQUEST_SECONDS: Final = 3.0
# From the loss of a Lease to the next leader are 4 s at least.
_END_SECONDS: Final = LEASE_SECONDS - RENEW_DEADLINE - 1
# Room in a term for the transitions of one Lease object.
_TRANSITION_BITS: Final = 20

Connect = Callable[[], AbstractAsyncContextManager[Api]]
T = TypeVar("T")

_log = structlog.get_logger(__name__)
# What it warns of is told here.
logging.getLogger("kubernetes.aio.leaderelection").setLevel(logging.ERROR)


class Leader:
    """One replica's part in the election: `lead`, then work until `lost`, then `release`, in any case.

    The election has a thread, a loop and a connection of its own, because ten thousand cameras may keep the operator's
    loop from answering in time. Whoever is told that he leads no more must release before another begins to lead, or
    `overdue` is called, in that thread.

    `identity` is the pod's name: a process that finds its own pod's name in the Lease takes over at once, because the
    container before it in the same pod is certainly gone.
    """

    def __init__(self, connect: Connect, namespace: str, identity: str, overdue: Callable[[], None]) -> None:
        self._connect = connect
        self._named = namespace, identity
        self._overdue = overdue
        self._thread: threading.Thread | None = None
        self._begun = threading.Event()
        self._stop: Callable[[], None] = self._begun.set
        self._candidate: _Candidate | None = None
        self._lost: asyncio.Future[str] | None = None

    @property
    def informed(self) -> bool:
        """Whether it has seen the Lease, whoever holds it."""
        return self._candidate is not None and self._candidate.informed

    async def lead(self) -> int:
        """Waits until this replica leads, for as long as it takes; returns the term.

        Terms grow for ever: each transition counts, and a Lease made anew is younger than the one before.
        """
        home = asyncio.get_running_loop()
        led: asyncio.Future[int] = home.create_future()
        self._lost = home.create_future()
        self._thread = threading.Thread(target=self._work, args=(home, led, self._lost), name="election", daemon=True)
        self._thread.start()
        return await led

    @property
    def vacancy(self) -> float:
        """Seconds for which nobody had renewed the Lease when this replica took it, by the clocks of both; 0 where it
        made it."""
        return self._candidate.vacancy if self._candidate is not None else 0.0

    async def lost(self) -> str:
        """Waits until this replica must not lead any more, and returns why."""
        if self._lost is None:
            raise RuntimeError("this replica does not lead")
        return await asyncio.shield(self._lost)

    async def release(self) -> None:
        """Stops taking part; gives the Lease up where it is held, so that another leads at once."""
        if self._thread is not None:
            await asyncio.to_thread(self._begun.wait)
            self._stop()
            await asyncio.to_thread(self._thread.join)

    def _work(self, home: asyncio.AbstractEventLoop, led: "asyncio.Future[int]", lost: "asyncio.Future[str]") -> None:
        """The thread."""

        def tell(future: "asyncio.Future[Any]", result: object) -> None:
            with contextlib.suppress(RuntimeError):  # whoever led has ended without waiting
                home.call_soon_threadsafe(_settle, future, result)

        try:
            asyncio.run(self._take_part(partial(tell, led), partial(tell, lost)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told in the loop that waits
            tell(led, error)
            tell(lost, f"the election failed: {error!r}")
        finally:
            self._begun.set()

    async def _take_part(self, led: Callable[[int], None], lost: Callable[[str], None]) -> None:
        stopping = asyncio.Event()
        self._stop = partial(_call, asyncio.get_running_loop(), stopping.set)
        self._begun.set()
        async with self._connect() as api:
            candidate = self._candidate = _Candidate(api, *self._named)
            try:
                term = await _unless(stopping, candidate.lead())
                if term is None:
                    return
                led(term)
                why = await _unless(stopping, candidate.lost())
                if why is None:
                    return
                lost(why)
                try:
                    async with asyncio.timeout(_END_SECONDS):
                        await stopping.wait()
                except TimeoutError:
                    self._overdue()
            finally:
                await candidate.release()


class _Candidate:
    """What the election's thread holds."""

    def __init__(self, api: Api, namespace: str, identity: str) -> None:
        self._lock = _Lock(api, namespace, identity)
        self._leading = asyncio.Event()
        election = Config(self._lock, LEASE_SECONDS, RENEW_DEADLINE, RETRY_SECONDS, self._started, self._stopped)
        self._election = LeaderElection(election)
        self._running: asyncio.Task[None] | None = None

    @property
    def informed(self) -> bool:
        return self._lock.seen is not None

    @property
    def vacancy(self) -> float:
        return self._lock.vacancy

    async def lead(self) -> int:
        self._running = asyncio.create_task(self._election.run(), name="election")
        leading = asyncio.create_task(self._leading.wait())
        try:
            await asyncio.wait((self._running, leading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leading.cancel()
        if not self._leading.is_set():
            # It ends in no other way than by an error.
            await self._running
        _log.info("leader.leading", identity=self._lock.identity, term=self._lock.term)
        return self._lock.term

    async def lost(self) -> str:
        running = self._running
        if running is None:
            raise RuntimeError("this replica does not lead")
        while not running.done():
            left = (self._lock.renewed or 0.0) + RENEW_DEADLINE - time.monotonic()
            if left <= 0:
                break
            if self._lock.taken:
                return f"{self._lock.taken} has taken the Lease"
            await asyncio.wait((running,), timeout=min(left, RETRY_SECONDS / 2))
        if running.done() and not running.cancelled() and (error := running.exception()) is not None:
            return f"the election failed: {error!r}"
        return f"the Lease was not renewed for {RENEW_DEADLINE} s"

    async def release(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        if self._leading.is_set() and not self._lock.taken:
            await self._lock.release()

    async def _started(self) -> None:
        self._leading.set()

    async def _stopped(self) -> None:
        """Nothing: `lost` tells."""


class _Lock(LeaseLock):
    """The Lease itself."""

    def __init__(self, api: Api, namespace: str, pod: str) -> None:
        # Two containers of one pod are two processes; a term is one's alone.
        super().__init__(LEASE, namespace, f"{pod}_{token_hex(4)}", api.client)
        self._pod = pod
        # The client's types make every field optional, also those the API server always fills in.
        self.seen: Any = None
        # When the last renewal that succeeded was asked for, by the monotonic clock.
        self.renewed: float | None = None
        # Who holds the Lease that was ours.
        self.taken = ""
        # Seconds between its renewal by another and ours.
        self.vacancy = 0.0

    @property
    def term(self) -> int:
        """Of the Lease as this replica wrote it."""
        if self.seen is None:
            raise RuntimeError("the Lease has not been written")
        created = int(self.seen.metadata.creation_timestamp.timestamp())
        return (created << _TRANSITION_BITS) + (self.seen.spec.lease_transitions or 0)

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            async with _answered("read"):
                self.seen = self.lease_reference = await self.api_instance.read_namespaced_lease(name, namespace)
        except ApiException as refusal:
            # The election goes by the code in the body.
            refusal.body = json.dumps({"code": refusal.status})
            return False, refusal
        record = self.election_record(self.seen)
        holder = record.holder_identity or ""
        self.taken = holder if self.renewed is not None and holder != self.identity else ""
        if holder != self.identity and holder.startswith(f"{self._pod}_"):
            record.holder_identity = None
        return True, record

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        body = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._write(self.api_instance.create_namespaced_lease(namespace, body))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        body = self.lease_reference
        if body is None:
            return False
        body.spec = self.update_lease(updated_record, body.spec)
        return await self._write(self.api_instance.replace_namespaced_lease(name, namespace, body))

    async def release(self) -> None:
        """Gives it up, if it is ours still; where that fails it runs out by itself."""
        _, record = await self.get(self.name, self.namespace)
        if not isinstance(record, LeaderElectionRecord) or record.holder_identity != self.identity:
            return
        spec = self.seen.spec
        spec.holder_identity, spec.lease_duration_seconds = None, 1
        spec.renew_time, spec.acquire_time = _micro_time(None), _micro_time(spec.acquire_time)
        await self._write(self.api_instance.replace_namespaced_lease(self.name, self.namespace, self.seen))

    def update_lease(self, leader_election_record: LeaderElectionRecord, current_spec: Any = None) -> Any:
        spec = current_spec or V1LeaseSpec(lease_transitions=0)
        passes = current_spec is not None and spec.holder_identity != self.identity
        if passes and isinstance(spec.renew_time, datetime):
            self.vacancy = (datetime.now(UTC) - spec.renew_time).total_seconds()
        spec.lease_transitions = (spec.lease_transitions or 0) + passes
        spec.acquire_time = _micro_time(None if passes else spec.acquire_time)
        spec.renew_time = _micro_time(None)
        spec.holder_identity, spec.lease_duration_seconds = self.identity, LEASE_SECONDS
        return spec

    async def _write(self, request: Awaitable[Any]) -> bool:
        asked = time.monotonic()
        try:
            async with _answered("write"):
                self.seen = self.lease_reference = await request
        except ApiException as refusal:
            _log.warning("leader.lease_not_written", status=refusal.status, reason=refusal.reason)
            return False
        self.renewed = asked
        return True


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` comes to, or None where it has to stop first."""
    tasks = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return None if stopping.is_set() else await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _settle(future: "asyncio.Future[Any]", result: object) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(what)


@asynccontextmanager
async def _answered(verb: str) -> AsyncIterator[None]:
    """Makes an ApiException of what is none: no connection, or no answer in time."""
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = f"no answer to {verb} the Lease: {error or type(error).__name__}"
        raise ApiException(status=0, reason=reason) from error


def _micro_time(moment: datetime | None) -> str:
    """As metav1.MicroTime is written, always with a fraction; now where none is given."""
    return (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
