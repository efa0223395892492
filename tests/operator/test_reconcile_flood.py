"""When the loop takes its rounds: at once where one thing changes, ever more seldom where changes do not end."""

import asyncio
import itertools
import selectors
from collections.abc import Callable

from pancar_operator.control import ControlPlane
from pancar_operator.observe import Known
from pancar_operator.reconcile import DEBOUNCE, FLOOD, QUIET, Reconciler


class _Instant(selectors.DefaultSelector):
    """Does not wait: the clock goes on instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Instant()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


async def _flood(known: Known, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        known.changed.set()
        await asyncio.sleep(QUIET / 2)


async def _times(act: Callable[[Known], "asyncio.Future[None] | asyncio.Task[None]"]) -> dict[float, bool]:
    """When rounds were taken while `act` ran and for a second after it, and whether they said that it is a flood."""
    loop = asyncio.get_running_loop()
    known = Known(loop.time)
    rounds: dict[float, bool] = {}
    control = ControlPlane(known, term=1, link_used=lambda _: None)
    reconciler = Reconciler(known, control, lambda told: rounds.update({loop.time(): told.flooded}))
    running = asyncio.create_task(reconciler.run())
    await act(known)
    await asyncio.sleep(2 * FLOOD)
    running.cancel()
    return rounds


def test_one_change_is_taken_as_soon_as_it_is_quiet() -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        ((taken, flooded),) = runner.run(_times(lambda known: asyncio.create_task(_flood(known, 0.001)))).items()
    assert taken < 2 * QUIET
    assert not flooded


def test_rounds_grow_apart_while_changes_do_not_end_and_come_back_with_quiet() -> None:
    async def twice(known: Known) -> None:
        await _flood(known, 30.0)
        await asyncio.sleep(FLOOD)
        await _flood(known, 1.0)

    with asyncio.Runner(loop_factory=_Loop) as runner:
        told = runner.run(_times(lambda known: asyncio.create_task(twice(known))))
    rounds = list(told)
    assert all(told[at] for at in rounds if at < 28.0)
    assert not told[max(at for at in rounds if at < 30.0 + FLOOD)], "the last one is followed by quiet"
    pauses = [after - before for before, after in itertools.pairwise(rounds)]
    first = [pause for at, pause in zip(rounds, pauses, strict=False) if at < 28.0]
    assert rounds[0] < DEBOUNCE + 2 * QUIET
    assert max(first) <= FLOOD + 2 * QUIET
    assert len(first) < 35
    assert first[:3] == sorted(first[:3])
    # After quiet, what changes is told as soon as at the beginning.
    again = [at for at in rounds if at > 30.0 + FLOOD]
    assert again[0] - (30.0 + FLOOD) < DEBOUNCE + 3 * QUIET
