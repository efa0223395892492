"""How much each camera sends, by the engine's counters: what the operator places by, told when it has changed. Pure.

`__main__` brings the counters every `PERIOD` seconds, `control` tells.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pancar_relay.desired import CameraKey

# Seconds; longer than any usual group of pictures, whose key frame weighs as much as a second of the others.
PERIOD = 10.0
# A mean over about half a minute, so that a scene that moves for a moment is no news.
WEIGHT = 0.3
# The part by which it must have changed.
NEWS = 0.25


@dataclass(slots=True)
class _Meter:
    stream: int
    bytes: int
    at: float
    # It sent something just before `at`: only a span that it sent through says how much it sends.
    flowing: bool
    mean: float = 0.0
    told: int = 0


class Bitrates:
    """Kilobits a second of H.264, by camera. A camera that sends nothing keeps the figure it had."""

    def __init__(self) -> None:
        self._meters: dict[CameraKey, _Meter] = {}

    def __getitem__(self, key: CameraKey) -> int:
        """0 until it is measured."""
        meter = self._meters.get(key)
        return meter.told if meter is not None else 0

    def measure(self, counters: Mapping[CameraKey, tuple[int, int]], now: float) -> list[CameraKey]:
        """Takes each camera's stream and the bytes it has received so far; `now` is monotonic seconds. Returns the
        cameras of which something new is to be told; those not named are forgotten."""
        self._forget(self._meters.keys() - counters.keys())
        return [key for key, (stream, received) in counters.items() if self._count(key, stream, received, now)]

    def _count(self, key: CameraKey, stream: int, received: int, now: float) -> bool:
        meter = self._meters.get(key)
        if meter is None:
            self._meters[key] = _Meter(stream, received, now, received > 0)
            return False
        came = received - meter.bytes if stream == meter.stream else received
        counts = meter.flowing and came > 0 and stream == meter.stream and now > meter.at
        rate = came / (now - meter.at) / 125 if counts else 0.0
        meter.stream, meter.bytes, meter.at, meter.flowing = stream, received, now, came > 0
        if not counts:
            return False
        meter.mean = rate if meter.mean == 0.0 else meter.mean + WEIGHT * (rate - meter.mean)
        if abs(meter.mean - meter.told) <= NEWS * meter.told:
            return False
        meter.told = max(1, round(meter.mean))
        return True

    def _forget(self, keys: Iterable[CameraKey]) -> None:
        for key in list(keys):
            del self._meters[key]
