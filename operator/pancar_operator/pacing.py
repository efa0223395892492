"""When what people read may be written: not at once, not often, and never many in one second. Pure; for `statuses`.

Driven like this: `want` says that an item differs from what is written (or `rest`, that it does not any more) and
answers whether it may be told now; `due` names the items to look at again; `take` names the next one to write, which
is then busy until `done` or `failed`. The clock is the caller's, in seconds, and never runs backwards.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

# The pause after a write, doubled with each that follows before it was quiet for CALM, or twice the pause.
FIRST_PAUSE: Final = 2.0
LAST_PAUSE: Final = 300.0
CALM: Final = 60.0
# The same after a write that failed, until one succeeds.
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0

# At most 50 reach the API server in any second: those that may begin in it, and those that had begun before.
WRITES_PER_SECOND: Final = 38.0
BURST: Final = 4.0
AT_ONCE: Final = 8


class Allowance:
    """Of writes that are not urgent: a bucket of tokens, one for each, and a bound on those that are not `done`."""

    def __init__(self) -> None:
        self._left = BURST
        self._at = 0.0
        self._room = AT_ONCE

    def wait(self, now: float) -> float:
        """Seconds until one may be taken; infinite where none may before one is done."""
        self._left = min(BURST, self._left + (now - self._at) * WRITES_PER_SECOND)
        self._at = now
        if not self._room:
            return math.inf
        # The sum of many fractions falls short of a whole by as many roundings.
        return (1.0 - self._left) / WRITES_PER_SECOND if self._left < 1.0 - 1e-9 else 0.0

    def take(self, now: float) -> bool:
        if self.wait(now) > 0.0:
            return False
        self._left -= 1.0
        self._room -= 1
        return True

    def done(self) -> None:
        self._room += 1


@dataclass(frozen=True, slots=True)
class _Written:
    at: float
    pause: float


class Pacing(Generic[Item]):
    """`last_pause` bounds how long an item that changes all the time goes untold."""

    def __init__(self, allowance: Allowance, *, urgent: int, last_pause: float = LAST_PAUSE) -> None:
        """At most `urgent` of the urgent ones are busy at once; the others take from the allowance."""
        self._allowance = allowance
        # May be changed at any time.
        self.urgent = urgent
        self._urgent_busy = 0
        self._last_pause = last_pause
        self._busy: dict[Item, bool] = {}
        # Told now, in the order in which they came.
        self._ready: dict[bool, dict[Item, None]] = {True: {}, False: {}}
        # Since when those are held back that may change again soon.
        self._held: dict[Item, float] = {}
        self._written: dict[Item, _Written] = {}
        self._failed: dict[Item, _Written] = {}
        self._timers: list[tuple[float, Item]] = []
        self._due: dict[Item, float] = {}
        self._pruned = 0.0

    def want(self, item: Item, now: float, *, urgent: bool = False, hold: float = 0.0) -> bool:
        """The item is to be written: an urgent one without a pause, one that may change again soon after `hold` s.

        Whether it may be told now; else `due` will name it, and so it will once it is no longer busy.
        """
        if item in self._busy:
            return False
        at = now
        if hold:
            at = self._held.setdefault(item, now) + hold
        else:
            self._held.pop(item, None)
        paused = self._failed.get(item) or (None if urgent else self._written.get(item))
        if paused is not None:
            at = max(at, paused.at + paused.pause)
        if at > now:
            self._look_again(item, at)
            return False
        self._due.pop(item, None)
        self._ready[not urgent].pop(item, None)
        self._ready[urgent].setdefault(item)
        return True

    def rest(self, item: Item) -> None:
        """The item is as it is written."""
        self._held.pop(item, None)
        self._failed.pop(item, None)
        self._due.pop(item, None)
        for ready in self._ready.values():
            ready.pop(item, None)

    def forget(self, item: Item) -> None:
        """The item is no more."""
        self.rest(item)
        self._written.pop(item, None)

    def take(self, now: float) -> Item | None:
        """The next item to write, if one may be written now."""
        for urgent in (True, False):
            ready = self._ready[urgent]
            if ready and (self._has_room if urgent else self._allowance.take(now)):
                item = next(iter(ready))
                del ready[item]
                self._urgent_busy += urgent
                self._busy[item] = urgent
                return item
        return None

    def done(self, item: Item, now: float, *, written: bool = True) -> None:
        """The item was written, or had not to be."""
        urgent = self._free(item)
        self._failed.pop(item, None)
        if written and not urgent:
            self._written[item] = _Written(now, self._pause(item, now))
        # It may have changed since.
        self._look_again(item, now)
        self._prune(now)

    def failed(self, item: Item, now: float, *, wait: float = 0.0) -> None:
        """The item was not written; it is tried again, in `wait` seconds at the earliest."""
        self._free(item)
        before = self._failed.get(item)
        pause = FIRST_RETRY if before is None else min(2 * before.pause, LAST_RETRY)
        self._failed[item] = _Written(now, max(pause, wait))
        self._look_again(item, now + max(pause, wait))

    def due(self, now: float) -> list[Item]:
        """The items to look at again."""
        found = []
        while self._timers and self._timers[0][0] <= now:
            at, item = heappop(self._timers)
            if self._due.get(item) == at:
                del self._due[item]
                found.append(item)
        return found

    def wait(self, now: float) -> float | None:
        """Seconds until `due` or `take` may have something; None where only something new can bring it."""
        times = [max(0.0, self._timers[0][0] - now)] if self._timers else []
        if self._ready[False]:
            times.append(self._allowance.wait(now))
        if self._ready[True] and self._has_room:
            times.append(0.0)
        return min(times, default=None)

    @property
    def _has_room(self) -> bool:
        return self._urgent_busy < self.urgent

    def _free(self, item: Item) -> bool:
        urgent = self._busy.pop(item)
        if urgent:
            self._urgent_busy -= 1
        else:
            self._allowance.done()
        self._held.pop(item, None)
        return urgent

    def _pause(self, item: Item, now: float) -> float:
        before = self._written.get(item)
        if before is None or now - before.at > _calm(before):
            return FIRST_PAUSE
        return min(2 * before.pause, self._last_pause)

    def _look_again(self, item: Item, at: float) -> None:
        if self._due.get(item) != at:
            self._due[item] = at
            heappush(self._timers, (at, item))
        if len(self._timers) > 2 * len(self._due) + 1000:
            self._timers = [(at, item) for item, at in self._due.items()]
            heapify(self._timers)

    def _prune(self, now: float) -> None:
        if now - self._pruned > CALM:
            self._pruned = now
            self._written = {item: last for item, last in self._written.items() if now - last.at <= _calm(last)}


def _calm(written: _Written) -> float:
    return max(CALM, 2 * written.pause)
