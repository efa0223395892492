"""How often one address may try a one-time code; `wall.api` asks before each exchange. Pure: takes `now`."""

from collections import OrderedDict

ADDRESSES = 1024
BURST = 10.0
REFILL = 0.2  # a second


class Attempts:
    """A token bucket an address, spent by failures alone: the many viewers behind one address of a centre are not held
    up by each other. There is none for all addresses together, with which one guesser would lock everybody out."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def retry_after(self, address: str, now: float) -> float | None:
        """Seconds until a further try is allowed; None when it is allowed now."""
        level = self._level(address, now)
        return None if level >= 1.0 else (1.0 - level) / REFILL

    def failed(self, address: str, now: float) -> None:
        self._buckets[address] = (self._level(address, now) - 1.0, now)
        self._buckets.move_to_end(address)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)

    def _level(self, address: str, now: float) -> float:
        level, at = self._buckets.get(address, (BURST, now))
        return min(BURST, level + (now - at) * REFILL)
