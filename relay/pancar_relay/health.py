"""Whether this process works: its event loop and its engine, and nothing beyond the process. `web` answers by it."""

import time

from pancar_relay._engine import Engine

# The loop's ticker and the engine's thread both go round once a second.
SILENCE = 5.0


class Health:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._beat = time.monotonic()
        self.draining = False

    def tick(self) -> None:
        """Called once a second from the event loop."""
        self._beat = time.monotonic()

    def fault(self) -> str | None:
        """What does not work, None when all does."""
        if time.monotonic() - self._beat > SILENCE:
            return "the event loop has not gone round for too long"
        if self._engine.heartbeat() > SILENCE:
            return "the engine's thread has not gone round for too long"
        return None

    def unready(self) -> str | None:
        """Why no viewer should be sent here. Never because of control: who is here is served without it."""
        return "the relay is going down" if self.draining else self.fault()
