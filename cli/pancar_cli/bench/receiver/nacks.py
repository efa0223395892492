"""Which packets a browser asks for again, and when: libwebrtc's modules/video_coding/nack_requester.cc. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# A viewer who sends nothing measures no round trip, and libwebrtc then takes this one.
ROUND_TRIP = 0.1
INTERVAL = 0.02
_RETRIES = 10
_MAX_AGE = 10_000
_MAX_MISSING = 1000


@dataclass(slots=True)
class _Missing:
    asked_at: float | None = None
    asked: int = 0


class Nacks:
    """`received` each packet by its number; `due` are those to be asked for at once, `overdue` those of which the last
    request is a round trip old, which is looked for every `INTERVAL`. Numbers are whole, as they do not wrap."""

    def __init__(self) -> None:
        self._missing: dict[int, _Missing] = {}
        self._newest: int | None = None

    def received(self, number: int) -> bool:
        """False where so many are missing that a key frame must be asked for instead."""
        if self._newest is None or number <= self._newest:
            self._newest = self._newest or number
            self._missing.pop(number, None)
            return True
        first, self._newest = self._newest + 1, number
        self.forget_before(number - _MAX_AGE)
        if len(self._missing) + number - first > _MAX_MISSING:
            self._missing.clear()
            return False
        self._missing.update((missing, _Missing()) for missing in range(first, number))
        return True

    def due(self, now: float) -> list[int]:
        return self._ask([number for number, missing in self._missing.items() if missing.asked == 0], now)

    def overdue(self, now: float) -> list[int]:
        return self._ask(
            [
                number
                for number, missing in self._missing.items()
                if missing.asked_at is None or now - missing.asked_at >= ROUND_TRIP
            ],
            now,
        )

    def forget_before(self, number: int) -> None:
        """What is older serves no picture any more."""
        for old in [missing for missing in self._missing if missing < number]:
            del self._missing[old]

    def _ask(self, numbers: list[int], now: float) -> list[int]:
        for number in numbers:
            missing = self._missing[number]
            missing.asked_at = now
            missing.asked += 1
            if missing.asked >= _RETRIES:
                del self._missing[number]
        return sorted(numbers)
