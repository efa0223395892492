"""The engine's counters for the wall's API and metrics: taken off the loop, shared for a second."""

import asyncio
import time

import structlog

from pancar_relay._engine import Engine, EngineStats

log = structlog.get_logger()

MAX_AGE = 1.0


class Stats:
    """Engine.stats waits for the engine's thread, which the event loop must not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._latest: EngineStats | None = None
        self._taken = float("-inf")
        self._taking = asyncio.Lock()

    async def take(self, max_age: float = MAX_AGE) -> EngineStats | None:
        """A snapshot that was taken `max_age` seconds before this call or later; None when the engine does not answer.
        However many ask, one waits for the engine and the others share what it got."""
        oldest = time.monotonic() - max_age
        async with self._taking:
            if self._taken < oldest:
                self._taken = time.monotonic()
                try:
                    self._latest = await asyncio.to_thread(self._engine.stats)
                except TimeoutError:
                    log.error("engine.silent", heartbeat=self._engine.heartbeat())
                    self._latest = None
            return self._latest

    def age(self) -> float:
        """Seconds since the latest snapshot."""
        return time.monotonic() - self._taken
