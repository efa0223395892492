"""Writes what people read: statuses and Events of cameras and pools. The operator's `__main__` runs it while it leads.

`note` takes in each round of `reconcile`; what differs from what the API server holds is then written, by server-side
apply, one write for all that changed. `pacing` says when, `status` what, `events` which of it is news. Nothing is
written that is written already, after a restart neither.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import compress, filterfalse
from operator import is_not
from typing import Any, Final, Generic, NamedTuple, TypeVar

import structlog
from pancar_proto.logs import redact
from pydantic import TypeAdapter

from pancar_operator.api import CAMERAS, CORE_EVENTS, POOLS, Api, ApiError, ApiUnreachable, Kind
from pancar_operator.events import Event, Gathering, Named, Told, body, changes, pool_changes, told
from pancar_operator.model import API_VERSION, Assignment, CameraObject, Key, Pod, PoolObject
from pancar_operator.observe import Known
from pancar_operator.pacing import Allowance, Pacing
from pancar_operator.plan import Plan
from pancar_operator.reconcile import Round
from pancar_operator.status import Conditions, Fleet, Place, camera_status, pool_status, refusal, says
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, Truth

# First statuses and those of an edited manifest are written this many at once, without a bound on their rate.
AT_ONCE: Final = 32
# And this many while cameras are applied by the thousand: whoever applies them waits for the API server too.
AT_ONCE_IN_FLOOD: Final = 3
# So long after a round that was flooded; the next one comes sooner.
FLOODED: Final = 2.0
# A camera on its way is held back for so long, so that one write tells where it came to; and one whose Secret or pool
# is missing, because they may be in the same file.
HOLD: Final = 3.0
# Pools change pod by pod, and whoever scales or rolls them waits to see it.
POOL_HOLD: Final = 1.0
POOL_PAUSE: Final = 4.0
TICK: Final = 1.0
POST_PAUSE: Final = 5.0
# Statuses that somebody else wrote into are noticed within so long.
AROUND: Final = 5.0
# After so many cameras other tasks have their turn.
STRIDE: Final = 200

S = TypeVar("S", CameraStatus, RelayPoolStatus)

_log = structlog.get_logger(__name__)


class _Unheard(NamedTuple, Generic[S]):
    """What was written while the watch showed `shown`, and has shown nothing since."""

    shown: object
    status: S


class _Book(Generic[S]):
    """The statuses of one kind: what the API server holds of each."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        adapter: TypeAdapter[S],
        pacing: Pacing[Key],
        shown: Mapping[Key, CameraObject | PoolObject],
    ) -> None:
        self.kind = kind
        self.name = name
        self.pacing = pacing
        self._adapter: TypeAdapter[S] = adapter
        self._shown = shown
        self._unheard: dict[Key, _Unheard[S]] = {}

    def written(self, key: Key, shown: CameraObject | PoolObject, status: S) -> S:
        """The status that the API server holds: that of the object `shown`, or what was written after that."""
        unheard = self._unheard.get(key)
        if unheard is None:
            return status
        if unheard.shown is shown:
            return unheard.status
        del self._unheard[key]
        return status

    def wrote(self, key: Key, uid: str, status: S) -> None:
        shown = self._shown.get(key)
        if shown is not None and shown.uid == uid and not says(shown.status, status):
            self._unheard[key] = _Unheard(shown, status)

    def forget(self, key: Key) -> None:
        self._unheard.pop(key, None)
        self.pacing.forget(key)

    def body(self, key: Key, status: S) -> dict[str, Any]:
        """What is applied. To a status it is of no use to say the object's uid: the API server does not look at it."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.name,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": self._adapter.dump_python(status, mode="json", by_alias=True, exclude_none=True),
        }


class _Wanted(NamedTuple, Generic[S]):
    """A status to be written, with what is written."""

    uid: str
    status: S
    written: S


class Statuses:
    """Driven by `note` with each round, sync and cheap; `run` never ends by itself."""

    def __init__(
        self,
        api: Api,
        known: Known,
        now: Callable[[], datetime],
        *,
        trouble: Callable[[], Mapping[Key, str]] = dict,
        instance: str = "",
    ) -> None:
        """`trouble` tells what hinders each pool, for a person; `instance` signs Events."""
        self._api = api
        self._known = known
        self._now = now
        self._trouble = trouble
        self._instance = instance
        self._allowance = Allowance()
        self._cameras = _Book(
            CAMERAS,
            "Camera",
            TypeAdapter(CameraStatus),
            Pacing(self._allowance, urgent=AT_ONCE),
            known.objects,
        )
        self._pools = _Book(
            POOLS,
            "RelayPool",
            TypeAdapter(RelayPoolStatus),
            Pacing(self._allowance, urgent=AT_ONCE, last_pause=POOL_PAUSE),
            known.pool_objects,
        )
        self._gathering = Gathering()
        # As of the last round.
        self._plan = Plan()
        self._objects: dict[Key, CameraObject] = {}
        self._conditions: Mapping[Key, Conditions] = {}
        # What was told of cameras, of these uids, whose status is not written yet.
        self._told: dict[Key, tuple[str, Told]] = {}
        self._places: dict[str, Place] = {}
        self._changed: dict[Key, None] = {}
        # When the pools are to be looked at; not before the first round.
        self._look_at = math.inf
        self._look_around_at = 0.0
        self._flooded_until = 0.0
        # Not before then, after an Event could not be posted.
        self._post_from = 0.0
        self._woken = asyncio.Event()

    def note(self, round_: Round) -> None:
        self._conditions = round_.conditions
        self._changed.update((transition.camera, None) for transition in round_.transitions)
        objects = self._known.objects.copy()
        self._changed.update(dict.fromkeys(_differing(self._objects, objects)))
        self._changed.update(dict.fromkeys(_differing(self._plan.assignments, round_.plan.assignments)))
        self._objects, self._plan = objects, round_.plan
        self._look_at = 0.0
        if round_.flooded:
            self._flooded_until = _clock() + FLOODED
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                self._look_at_pools()
                self._look_around()
                await self._look_at_cameras()
                while (job := self._job()) is not None:
                    group.create_task(job)
                await self._wait()

    def _look_around(self) -> None:
        """Takes in what others, or we, wrote into statuses since the last round."""
        now = _clock()
        if now < self._look_around_at:
            return
        self._look_around_at = now + AROUND
        live = self._known.objects
        for key in _differing(self._objects, live):
            given, found = self._objects.get(key), live.get(key)
            # What else has changed comes with a round, that knows what it means.
            if given is not None and found is not None and replace(given, status=found.status) == found:
                self._objects[key] = found
                self._changed[key] = None

    async def _look_at_cameras(self) -> None:
        """At all that changed, and at those whose time has come."""
        self._changed.update(dict.fromkeys(self._cameras.pacing.due(_clock())))
        changed, self._changed = self._changed, {}
        for count, key in enumerate(changed, 1):
            self._look_at_camera(key)
            if count % STRIDE == 0:
                await asyncio.sleep(0)

    def _look_at_camera(self, key: Key) -> None:
        wanted = self._camera(key)
        if wanted is None:
            self._told.pop(key, None)
            if key not in self._objects:
                self._cameras.forget(key)
            return
        pacing = self._cameras.pacing
        if says(wanted.written, wanted.status):
            if key in self._told:
                self._tell(key, wanted)
                del self._told[key]
            pacing.rest(key)
            return
        hold = 0.0 if _settled(wanted.status) else HOLD
        if pacing.want(key, _clock(), urgent=_fresh(wanted), hold=hold):
            self._tell(key, wanted)

    def _tell(self, key: Key, wanted: _Wanted[CameraStatus]) -> None:
        uid, before = self._told.get(key, ("", None))
        news, after = changes(before if uid == wanted.uid else told(wanted.written), wanted.status)
        self._told[key] = wanted.uid, after
        for change in news:
            self._gathering.camera(Named(key, wanted.uid), self._named(wanted.status.pool), change, _clock())

    def _named(self, pool: str | None) -> Named | None:
        key = Key(*pool.split("/", 1)) if pool else None
        live = None if key is None else self._known.pool_objects.get(key)
        return None if key is None or live is None else Named(key, live.uid)

    def _camera(self, key: Key) -> _Wanted[CameraStatus] | None:
        """None where there is nothing to be said: it is no more, or nothing is known of it yet."""
        given, live = self._objects.get(key), self._known.objects.get(key)
        if given is None or live is None or live.uid != given.uid or self._is_unheard(key):
            return None
        found = refusal(given.refused) if given.refused else self._conditions.get(key)
        if found is None:
            return None
        conditions = _redacted(found)
        written = self._cameras.written(key, live, live.status)
        given = replace(given, status=written)
        return _Wanted(live.uid, camera_status(conditions, given, self._place(key), self._second()), written)

    def _is_unheard(self, key: Key) -> bool:
        """Whether its relay has not told anything yet: what the leader before wrote holds."""
        assigned = self._plan.assignments.get(key)
        known = None if assigned is None else self._known.relays.get(assigned.relay)
        return known is not None and not known.heard

    def _place(self, key: Key) -> Place:
        assigned = self._plan.assignments.get(key)
        if assigned is None:
            unplaced = self._plan.unplaced.get(key)
            return Place() if unplaced is None else Place(pool=str(unplaced.pool))
        return self._place_of(assigned)

    def _place_of(self, assigned: Assignment) -> Place:
        """By its pod's name, also when the pod is gone and its cameras have not moved yet."""
        uid = assigned.relay
        if (place := self._places.get(uid)) is not None:
            return place
        pod, known = self._known.pods.get(uid), self._known.relays.get(uid)
        if pod is None:
            return Place(str(known.relay.pool), known.relay.name or uid) if known is not None else Place(relay=uid)
        if len(self._places) > 2 * len(self._known.pods) + STRIDE:
            used = {each.relay for each in self._plan.assignments.values()}
            self._places = {each: place for each, place in self._places.items() if each in used}
        return self._places.setdefault(uid, Place(str(pod.pool), pod.name))

    def _look_at_pools(self) -> None:
        """At all of them: there are not many, and little of what befalls them is told."""
        pacing, now = self._pools.pacing, _clock()
        due = pacing.due(now)
        if now < self._look_at and not due:
            return
        self._look_at = now + TICK
        fleets: dict[Key, list[Pod]] = {key: [] for key in self._known.pool_objects}
        for pod in self._known.pods.values():
            if pod.pool in fleets:
                fleets[pod.pool].append(pod)
        for key, pods in fleets.items():
            wanted = self._pool(key, pods)
            if wanted is None or says(wanted.written, wanted.status):
                pacing.rest(key)
            else:
                pacing.want(key, now, hold=POOL_HOLD if wanted.written.conditions else 0.0)
        for key in due:
            if key not in fleets:
                self._pools.forget(key)

    def _pool(self, key: Key, pods: Iterable[Pod]) -> _Wanted[RelayPoolStatus] | None:
        live, pool = self._known.pool_objects.get(key), self._known.pools.get(key)
        if live is None or pool is None:
            return None
        fleet = Fleet(
            pods=sorted(pods, key=lambda pod: pod.ordinal),
            attached=self._known.relays.keys(),
            revision=self._known.revision(key),
            trouble=redact(self._trouble().get(key, "")),
        )
        written = self._pools.written(key, live, live.status)
        given = replace(live, status=written)
        return _Wanted(live.uid, pool_status(pool, given, fleet, self._plan, self._second()), written)

    def _job(self) -> Coroutine[None, None, None] | None:
        """The next request that may be made now."""
        now = _clock()
        self._cameras.pacing.urgent = AT_ONCE_IN_FLOOD if now < self._flooded_until else AT_ONCE
        if self._gathering.waiting(now) and now >= self._post_from and self._allowance.take(now):
            return self._post(self._gathering.take())
        if (key := self._pools.pacing.take(now)) is not None:
            return self._write_pool(key)
        if (key := self._cameras.pacing.take(now)) is not None:
            return self._write(self._cameras, key, self._camera(key))
        return None

    async def _write_pool(self, key: Key) -> None:
        wanted = self._pool(key, [pod for pod in self._known.pods.values() if pod.pool == key])
        if wanted is not None:
            for change in pool_changes(wanted.written, wanted.status):
                self._gathering.pool(Named(key, wanted.uid), change, _clock())
        await self._write(self._pools, key, wanted)

    async def _write(self, book: _Book[S], key: Key, wanted: _Wanted[S] | None) -> None:
        log = _log.bind(kind=book.name, name=str(key))
        try:
            if wanted is None or says(wanted.written, wanted.status):
                book.pacing.done(key, _clock(), written=False)
                return
            made = book.body(key, wanted.status)
            await self._api.apply(book.kind.path(*key), made, subresource="status")
        except ApiError as error:
            if error.not_found:
                book.pacing.done(key, _clock(), written=False)
                book.forget(key)
                return
            book.pacing.failed(key, _clock(), wait=error.retry_after or 0.0)
            # Of an outage the reflectors tell, once.
            if not isinstance(error, ApiUnreachable):
                log.warning("status.refused", error=error.message)
        else:
            book.wrote(key, wanted.uid, wanted.status)
            book.pacing.done(key, _clock())
        finally:
            self._woken.set()

    async def _post(self, event: Event) -> None:
        known = self._known.objects if event.kind == "Camera" else self._known.pool_objects
        key, uid = event.of
        given = known.get(key)
        try:
            if given is not None and given.uid == uid:
                made = body(event, self._second(), self._instance)
                await self._api.create(CORE_EVENTS.path(key.namespace), made)
        except ApiError as error:
            if error.passing:
                self._gathering.again(event)
                self._post_from = _clock() + max(POST_PAUSE, error.retry_after or 0.0)
            elif not error.namespace_ends:
                _log.warning("event.refused", name=str(key), reason=event.reason, error=error.message)
        finally:
            self._allowance.done()
            self._woken.set()

    async def _wait(self) -> None:
        """Until something is noted or done, or there may be something to do; for TICK at most."""
        now = _clock()
        waits = [TICK]
        if self._gathering.waiting(now):
            waits.append(max(self._post_from - now, self._allowance.wait(now)))
        for wait in (self._gathering.wait(now), self._cameras.pacing.wait(now), self._pools.pacing.wait(now)):
            if wait is not None:
                waits.append(wait)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(waits)):
                await self._woken.wait()

    def _second(self) -> datetime:
        return self._now().replace(microsecond=0)


# Thousands of cameras are in the same state.
@lru_cache(maxsize=1000)
def _redacted(told: Conditions) -> Conditions:
    """Cameras' faults come from relays, and may quote what a camera said."""
    given = (told.placed, told.connected, told.ready, told.paused)
    clean = [each._replace(message=redact(each.message)) for each in given]
    if given == tuple(clean):
        return told
    placed, connected, ready, paused = clean
    return replace(told, placed=placed, connected=connected, ready=ready, paused=paused)


def _settled(status: CameraStatus) -> bool:
    """Whether it tells where the camera came to, of the manifest as it is: what keeps it from a relay may come yet."""
    told = {condition.type: condition for condition in status.conditions}
    if told["Paused"].status is Truth.TRUE:
        return True
    ready = told["Ready"]
    known = ready.status is not Truth.UNKNOWN and ready.observed_generation == status.observed_generation
    return known and told["Placed"].status is Truth.TRUE


def _fresh(wanted: _Wanted[CameraStatus]) -> bool:
    """Whether it is the first status, or the first that speaks of an edited manifest."""
    before = {condition.type: condition.observed_generation for condition in wanted.written.conditions}
    return any(before.get(each.type) != each.observed_generation for each in wanted.status.conditions)


def _differing(before: Mapping[Key, object], after: Mapping[Key, object]) -> Iterable[Key]:
    """The keys of what is another object than before, came or went."""
    yield from compress(after, map(is_not, map(before.get, after), after.values()))
    yield from filterfalse(after.__contains__, before)


def _clock() -> float:
    return asyncio.get_running_loop().time()
