"""What becomes of each packet in one direction of a path: when it goes on, once or twice, or never. Pure.

`shim` drives two `Direction`s, one for each way.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

# Packets on their way at once; a long delay without a rate would otherwise take any memory.
HELD_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Impairment:
    """Shares are 0 to 1, times in seconds, `rate` in bits a second, `queue` in bytes. By default a perfect path.

    A packet first waits in a queue for a link of `rate`, which drops it where it is full, then may be lost, then takes
    `delay` and up to `jitter` more. It overtakes nothing, save those that `reorder` holds back by `reorder_by`.
    """

    # The share that is lost, in runs of `burst` packets.
    loss: float = 0.0
    burst: int = 1
    delay: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    reorder_by: float = 0.01
    duplicate: float = 0.0
    rate: float | None = None
    queue: int = 64_000

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        for name in ("delay", "jitter", "reorder_by", "queue"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is not below zero: {getattr(self, name)}")
        if self.burst < 1 or not (self.rate is None or self.rate > 0):
            raise ValueError("burst is at least one packet, and rate above zero or None")


@dataclass(slots=True)
class Counts:
    """Packets so far: `taken` = lost + overflowed + on their way + (released - duplicated)."""

    taken: int = 0
    lost: int = 0
    # Not let into the full queue.
    overflowed: int = 0
    duplicated: int = 0
    released: int = 0
    # Bytes of the largest packet taken.
    largest: int = 0


class Direction:
    """`take` each packet as it comes, ask for what is to `release` whenever `due` has come. `now` is in seconds of any
    clock, and never runs backwards.

    Each kind of mischief throws dice of its own, once a packet: which packets are lost follows from the seed, the loss
    and their order alone.
    """

    def __init__(self, seed: int, impairment: Impairment | None = None) -> None:
        self._impairment = impairment or Impairment()
        self._loss, self._jitter, self._reorder, self._duplicate = (
            random.Random(f"{seed} {kind}")  # noqa: S311 - to be repeated, no secret
            for kind in ("loss", "jitter", "reorder", "duplicate")
        )
        self._burst_left = 0
        self._link_free_at = 0.0
        self._last_release = 0.0
        self._held: list[tuple[float, int, bytes]] = []
        self.counts = Counts()

    @property
    def impairment(self) -> Impairment:
        return self._impairment

    @impairment.setter
    def impairment(self, wanted: Impairment) -> None:
        """From the next packet on; those on their way keep their time."""
        self._impairment = wanted
        self._burst_left = 0

    @property
    def due(self) -> float | None:
        """When the next packet goes on; None while none is on its way."""
        return self._held[0][0] if self._held else None

    def take(self, packet: bytes, now: float) -> None:
        path = self._impairment
        self.counts.taken += 1
        self.counts.largest = max(self.counts.largest, len(packet))
        lost = self._throw_loss()
        jitter = self._jitter.random() * path.jitter
        held_back = self._reorder.random() < path.reorder
        twice = self._duplicate.random() < path.duplicate
        sent = self._through_link(len(packet), now)
        if sent is None or len(self._held) >= HELD_LIMIT:
            self.counts.overflowed += 1
            return
        if lost:
            self.counts.lost += 1
            return
        at = max(sent + path.delay + jitter, self._last_release)
        if held_back:
            at += path.reorder_by
        else:
            self._last_release = at
        self.counts.duplicated += twice
        for copy in range(1 + twice):
            heapq.heappush(self._held, (at, 2 * self.counts.taken + copy, packet))

    def release(self, now: float) -> list[bytes]:
        """The packets that are due, in their order."""
        released = []
        while self._held and self._held[0][0] <= now:
            released.append(heapq.heappop(self._held)[2])
        self.counts.released += len(released)
        return released

    def _throw_loss(self) -> bool:
        loss, burst = self._impairment.loss, self._impairment.burst
        # Between bursts (1 - p) / p packets pass on average: burst / (burst + (1 - p) / p) is the wanted share.
        begins = self._loss.random() * (loss + burst * (1 - loss)) < loss
        if self._burst_left:
            self._burst_left -= 1
            return True
        if begins:
            self._burst_left = burst - 1
        return begins

    def _through_link(self, size: int, now: float) -> float | None:
        """When the packet has left the link, None where its queue is full. What waits there is told by the time that
        the link needs for it."""
        rate = self._impairment.rate
        if rate is None:
            return now
        free_at = max(self._link_free_at, now)
        waiting = (free_at - now) * rate / 8
        if waiting > 0 and waiting + size > self._impairment.queue:
            return None
        self._link_free_at = free_at + size * 8 / rate
        return self._link_free_at
