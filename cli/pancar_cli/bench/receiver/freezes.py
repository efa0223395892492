"""Freezes as WebRTC counts them: freezeCount and totalFreezesDuration of Identifiers for WebRTC's Statistics API. Pure.

A picture that is shown max(3 times the average interval, the average + 150 ms) or more after the one before it ended a
freeze, which lasted that whole interval; the average is that of the last 30. Counted from the fifth interval on, as in
libwebrtc's video/video_quality_observer2.cc.
"""

from __future__ import annotations

from collections import deque

_WINDOW = 30
_LEAST = 5
_INCREASE = 0.15


class Freezes:
    """`shown` for each picture at its time; times never run backwards."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.longest = 0.0
        self.pictures = 0
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=_WINDOW)

    def count_anew(self) -> None:
        """What was counted so far is forgotten; the pace of the pictures is not."""
        self.count, self.seconds, self.longest, self.pictures = 0, 0.0, 0.0, 0

    def shown(self, at: float) -> None:
        self.pictures += 1
        if self._last is not None:
            self._intervals.append(at - self._last)
            self._judge(at - self._last)
        self._last = at

    def ended(self, at: float) -> None:
        """Nobody watches any longer: a picture that stands still by then is frozen too."""
        if self._last is not None and at > self._last:
            self._judge(at - self._last)

    def _judge(self, interval: float) -> None:
        self.longest = max(self.longest, interval)
        if len(self._intervals) < _LEAST:
            return
        average = sum(self._intervals) / len(self._intervals)
        if interval >= max(3 * average, average + _INCREASE):
            self.count += 1
            self.seconds += interval
