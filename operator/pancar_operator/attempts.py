"""Requests that may fail: the same one is made again with growing pauses only, and told of while it fails.

`fleet` brings, in each round, all that is to be done then: what it does not bring any more has no trouble left. The
pauses hold for what succeeds too, so that a quarrel with somebody who undoes it each time costs ever less. The clock is
the caller's, in seconds.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog
from pancar_proto.logs import redact

from pancar_operator.api import ApiError, ApiUnreachable
from pancar_operator.model import Key

# Doubled each time, until it was quiet for twice as long as the last.
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 60.0

_log = structlog.get_logger(__name__)


class Obstacle(Exception):  # noqa: N818 - it says what is
    """What keeps a request from being made, or from helping, for a person."""


class Task(NamedTuple):
    """One request to be made for a pool. It is the same as one before where `what` is equal and `token` identical."""

    pool: Key
    what: str
    token: object
    do: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Try:
    """When something was last tried."""

    token: object
    at: float
    pause: float

    def fresh(self, now: float) -> bool:
        """Whether trying again now would be in a row with it."""
        return now < self.at + 2 * self.pause


class Attempts:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tries: dict[str, _Try] = {}
        self._failures: dict[str, tuple[Key, str]] = {}

    @property
    def trouble(self) -> Mapping[Key, str]:
        """What fails, one thing for each pool, for a person."""
        found: dict[Key, str] = {}
        for pool, message in self._failures.values():
            found.setdefault(pool, message)
        return found

    async def make(self, tasks: Iterable[Task]) -> float | None:
        """All that is due, one after the other; the seconds until the first of the rest is. Raises ApiUnreachable."""
        waits: list[float] = []
        seen: set[str] = set()
        for task in tasks:
            seen.add(task.what)
            wait = await self._make(task)
            if wait is not None:
                waits.append(wait)
        now = self._now()
        self._failures = {what: failure for what, failure in self._failures.items() if what in seen}
        self._tries = {what: last for what, last in self._tries.items() if what in seen or last.fresh(now)}
        return min(waits, default=None)

    async def _make(self, task: Task) -> float | None:
        """The seconds until it is to be tried again; None where it was done."""
        now = self._now()
        last = self._tries.get(task.what)
        pause = FIRST_PAUSE
        if last is not None and last.token is task.token:
            if now < last.at + last.pause:
                return last.at + last.pause - now
            if last.fresh(now):
                pause = min(LAST_PAUSE, 2 * last.pause)
        try:
            await task.do()
        except ApiUnreachable:
            # Not this request's fault: it is the next one too.
            raise
        except ApiError as error:
            # Its messages begin with the path of the request.
            self._fail(task, f"{task.what}: {error.message.split(': ', 1)[-1]}")
            pause = max(pause, error.retry_after or 0.0)
        except Obstacle as obstacle:
            self._fail(task, str(obstacle))
        else:
            self._failures.pop(task.what, None)
            self._tries[task.what] = _Try(task.token, now, pause)
            return None
        self._tries[task.what] = _Try(task.token, now, pause)
        return pause

    def _fail(self, task: Task, message: str) -> None:
        failure = task.pool, redact(message)
        if self._failures.get(task.what) != failure:
            _log.warning("fleet.failed", pool=str(task.pool), what=task.what, error=failure[1])
        self._failures[task.what] = failure
