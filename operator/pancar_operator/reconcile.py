"""The loop that makes things as they are declared: observe, plan, diff, apply, tell what changed.

`pancar up` runs it as one task. Changes are gathered until none came for QUIET seconds, for DEBOUNCE at most.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog

from pancar_operator.control import ControlPlane
from pancar_operator.model import Key
from pancar_operator.observe import Known
from pancar_operator.plan import Plan, plan
from pancar_operator.status import Conditions, statuses
from pancar_operator.steps import Observed, diff

QUIET: Final = 0.05
DEBOUNCE: Final = 0.2

_log = structlog.get_logger(__name__)


class Transition(NamedTuple):
    """A camera's conditions have changed; None on the side where it is not declared."""

    camera: Key
    before: Conditions | None
    after: Conditions | None


class Reconciler:
    """Keeps what the last plan said, which is what makes the next one sticky."""

    def __init__(self, known: Known, control: ControlPlane, tell: Callable[[list[Transition]], None]) -> None:
        self._known = known
        self._control = control
        self._tell = tell
        self.plan = Plan()
        self.statuses: Mapping[Key, Conditions] = {}

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            await self._change()
            self.once()

    def once(self) -> None:
        """One round; harmless where nothing changed."""
        self._known.expire()
        self._control.retain(self._known.relays)
        placed = {key: assignment.relay for key, assignment in self.plan.assignments.items()}
        self.plan = plan(self._known.snapshot(placed))
        for move in self.plan.moves:
            _log.info("camera.moved", camera=str(move.camera), source=move.source, target=move.target, why=move.why)
        steps = diff(self.plan, Observed(self._known.placements, self._control.holdings()))
        self._control.apply(steps, self._known.access)
        before, self.statuses = self.statuses, statuses(self._known.cameras, self.plan, self._known.reports)
        transitions = [
            Transition(key, before.get(key), self.statuses.get(key))
            for key in sorted(before.keys() | self.statuses.keys())
            if before.get(key) != self.statuses.get(key)
        ]
        if transitions:
            self._tell(transitions)

    async def _change(self) -> None:
        """Waits for something to change and then for quiet, or for a detached relay's time to end."""
        changed = self._known.changed
        if not await _within(changed, self._known.expire()):
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEBOUNCE
        while True:
            changed.clear()
            left = min(QUIET, deadline - loop.time())
            if left <= 0 or not await _within(changed, left):
                return


async def _within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
