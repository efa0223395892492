"""The loop that makes things as they are declared: observe, plan, diff, apply, tell what changed.

The operator and `pancar up` run it as one task. Changes are gathered until none came for QUIET seconds, for DEBOUNCE
at most, and for longer, up to FLOOD, while they do not end. In a cluster the first round waits, see `gathered`: what it
does not know of would lose its cameras.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import compress, filterfalse
from operator import is_not, ne
from typing import Final, NamedTuple

import structlog

from pancar_operator.control import ControlPlane
from pancar_operator.model import Assignment, Camera, Key, Why
from pancar_operator.observe import Known
from pancar_operator.plan import Plan, Unplaced, plan
from pancar_operator.report import Report
from pancar_operator.status import Conditions, conditions
from pancar_operator.steps import Observed, diff

QUIET: Final = 0.05
DEBOUNCE: Final = 0.2
# And at most while they do not end, as when a city's cameras are applied: each round costs every relay a message.
FLOOD: Final = 1.0

# For so long a new leader waits for relays that run before it plans.
PATIENCE: Final = 15.0
_LOOK_SECONDS: Final = 0.1

_WHYS: Final = {why.value: why for why in Why}

_log = structlog.get_logger(__name__)


class Transition(NamedTuple):
    """A camera's conditions have changed; None on the side where it is not declared."""

    camera: Key
    before: Conditions | None
    after: Conditions | None


class Round(NamedTuple):
    """What one round came to."""

    plan: Plan
    # In the order of the cameras' names; most rounds have none.
    transitions: Sequence[Transition]
    # Of all cameras; the loop's own, which goes on changing.
    conditions: Mapping[Key, Conditions]
    # Changes had not ended when it began, as when a city's cameras are applied.
    flooded: bool = False


class _Seen(NamedTuple):
    """What the conditions of the cameras were last made from."""

    cameras: Mapping[Key, Camera] = {}
    assignments: Mapping[Key, Assignment] = {}
    unplaced: Mapping[Key, Unplaced] = {}
    reports: Mapping[Key, Report] = {}

    def changed(self, now: "_Seen") -> set[Key]:
        """The cameras of which anything is another object than before, came or went."""
        keys: set[Key] = set()
        # Each plan makes its `Unplaced` anew.
        for old, new, differs in zip(self, now, (is_not, is_not, ne, is_not), strict=True):
            keys.update(compress(new, map(differs, map(old.get, new), new.values())))
            keys.update(filterfalse(new.__contains__, old))
        return keys


class Reconciler:
    """Keeps what the last plan said, which is what makes the next one sticky."""

    def __init__(self, known: Known, control: ControlPlane, tell: Callable[[Round], None]) -> None:
        self._known = known
        self._control = control
        self._tell = tell
        self._seen = _Seen()
        # For how long at most changes are gathered.
        self._patience = DEBOUNCE
        self.plan = Plan()
        self._begun = False
        self.statuses: dict[Key, Conditions] = {}

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            await self._change()
            self.once()

    def once(self) -> None:
        """One round; harmless where nothing changed."""
        if not self._begun:
            self._presume()
        self._known.expire()
        self._control.retain(self._known.relays)
        self.plan = plan(self._known.snapshot(self._placed()))
        for move in self.plan.moves:
            _log.info("camera.moved", camera=str(move.camera), source=move.source, target=move.target, why=move.why)
        steps = diff(self.plan, Observed(self._known.placements, self._control.holdings()))
        self._control.apply(steps, self._known.access)
        self._tell(Round(self.plan, self._transitions(), self.statuses, self._patience > DEBOUNCE))

    def _placed(self) -> Mapping[Key, Assignment]:
        """Where cameras are: as the last plan said, and else where a relay says that it holds them."""
        assigned, cameras = self.plan.assignments, self._known.cameras
        claimed = {
            key: Assignment(uid, self._why(key, uid))
            for key, uid in self._known.claims().items()
            if key not in assigned and key in cameras
        }
        if not self._begun:
            self._begun = True
            claimed = {**self._written(), **claimed}
        return {**claimed, **assigned} if claimed else assigned

    def _presume(self) -> None:
        """Relays that serve and were not heard in time keep their cameras; all others are planned for. Of pods on
        nodes that were not heard of, Kubernetes says that they do not serve."""
        doubted = self._known.nodes.doubt() is not None
        for uid in self._known.awaited():
            if doubted or self._known.pods[uid].ready:
                self._control.expect(uid, self._known.presume(uid))

    def _written(self) -> dict[Key, Assignment]:
        """Cameras that the leader before had on some relay. Where none says that it holds them, it is gone."""
        objects = self._known.objects
        relays = {key: objects[key].status.relay for key in self._known.cameras if key in objects}
        return {key: Assignment(f"was {relay}", Why.NEW) for key, relay in relays.items() if relay}

    def _why(self, key: Key, uid: str) -> Why:
        """Why a relay holds a camera, from the leader before: the camera's status has it."""
        written, pod = self._known.objects.get(key), self._known.pods.get(uid)
        if written is not None and pod is not None and written.status.relay == pod.name:
            for condition in written.status.conditions:
                if condition.type == "Placed" and condition.reason in _WHYS:
                    return _WHYS[condition.reason]
        return Why.NEW

    def _transitions(self) -> list[Transition]:
        """Makes conditions anew where they may have changed; at ten thousand cameras all would take too long."""
        known, planned = self._known, self.plan
        now = _Seen(dict(known.cameras), planned.assignments, planned.unplaced, dict(known.reports))
        before, self._seen = self._seen, now
        transitions = []
        for key in sorted(before.changed(now)):
            old = self.statuses.pop(key, None)
            camera = now.cameras.get(key)
            new = None if camera is None else conditions(camera, planned, now.reports.get(key))
            if new is not None:
                self.statuses[key] = new
            if new != old:
                transitions.append(Transition(key, old, new))
        return transitions

    async def _change(self) -> None:
        """Waits for something to change and then for quiet, or for a detached relay's time to end."""
        changed = self._known.changed
        if not await _within(changed, self._known.expire()):
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while deadline - loop.time() >= QUIET:
            changed.clear()
            if not await _within(changed, QUIET):
                self._patience = DEBOUNCE
                return
        self._patience = min(FLOOD, 2 * self._patience)


async def gathered(known: Known, synced: Callable[[], bool], deadline: float) -> None:
    """Waits until all is known that the first plan should know: every object that there is, whatever that takes, and
    what each relay that runs says it holds, until `deadline` on the loop's clock.
    """
    loop = asyncio.get_running_loop()
    while True:
        missing = known.awaited()
        if synced() and (not missing or loop.time() >= deadline):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    if missing:
        _log.warning("relays.not_awaited", relays=sorted(missing))


async def _within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
