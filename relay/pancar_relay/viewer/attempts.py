"""How often one may try: wrong codes and tokens of an address, joins of a right. Asked by `wall.api`, `web` and
`viewer.whep`. Pure: takes `now`."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

REMEMBERED = 1024

Key = TypeVar("Key", bound=Hashable)


class Attempts(Generic[Key]):
    """A token bucket a key: `burst` at once, `refill` a second. There is none for all keys together, with which one
    would lock everybody out; and where the key is an address, failures alone are to be spent, for the many viewers
    behind one address of a centre must not hold each other up."""

    def __init__(self, burst: float, refill: float) -> None:
        self._burst = burst
        self._refill = refill
        self._buckets: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def retry_after(self, key: Key, now: float) -> float | None:
        """Seconds until a further try is allowed; None when it is allowed now."""
        level = self._level(key, now)
        return None if level >= 1.0 else (1.0 - level) / self._refill

    def spend(self, key: Key, now: float) -> None:
        """A try that was allowed has been made."""
        self._buckets[key] = (self._level(key, now) - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)

    def _level(self, key: Key, now: float) -> float:
        level, at = self._buckets.get(key, (self._burst, now))
        return min(self._burst, level + (now - at) * self._refill)
