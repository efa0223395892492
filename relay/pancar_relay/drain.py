"""When a relay that was asked to end does end. Pure; `__main__` asks once a second and at every change.

asked once   its cameras are to go elsewhere first; it serves until they have, or until its time is over
asked twice  at once
"""


class Drain:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._hurried = False

    @property
    def asked(self) -> bool:
        return self._deadline is not None

    def ask(self, now: float) -> None:
        self._hurried = self.asked
        if self._deadline is None:
            self._deadline = now + self._seconds

    def hurry(self) -> None:
        """As asked twice."""
        self._deadline, self._hurried = self._deadline or 0.0, True

    def over(self, now: float, *, cameras: int, sessions: int, attached: bool) -> bool:
        """Whether to end now: with nobody attached nobody would take the cameras, so that only viewers count."""
        if self._deadline is None:
            return False
        if self._hurried or now >= self._deadline or cameras == 0:
            return True
        return not attached and sessions == 0
