"""How much room the relays of a pool have, and who goes where in it. Pure; `plan` decides, and drives it.

A `Fleet` is made for one plan. First `loads`, `homeless`, `sent` and `demand` are filled in, then `closed`; after that
each `take` finds places and takes them.
"""

import struct
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import shake_128
from heapq import heapify, heapreplace
from math import floor
from typing import Final, NamedTuple

from pancar_operator.model import Assignment, Key, Relay, RelayPool

# Megabits a second of a camera that was not measured yet.
BITRATE: Final = 2

# A relay goes only if beyond the headroom this part of a relay stays free, so that the size does not swing.
_MARGIN: Final = 4

# A relay's load is uneven from so much of its share on, and a camera at least.
_UNEVEN: Final = 0.1

# Points on the ring of a relay of its pool's full capacity: the more, the more cameras find their first relay open.
_POINTS: Final = 32


class Room(NamedTuple):
    """Of relays, or what cameras take of it."""

    cameras: int
    # A second.
    megabits: int


_NONE: Final = Room(0, 0)


def capacity(pool: RelayPool, relay: Relay) -> int:
    """Cameras a relay may pull: what its pool allows, or less where it says so itself."""
    allowed = pool.spec.capacity.cameras
    return min(allowed, relay.cameras) if relay.cameras else allowed


def egress(pool: RelayPool, relay: Relay) -> int:
    """Megabits a second a relay may send: what its pool allows, or less where it says so itself."""
    allowed = pool.spec.capacity.egress_mbps
    return min(allowed, relay.egress_mbps) if relay.egress_mbps else allowed


class Fleet:
    """The relays of one pool, with the cameras they have and those that look for one."""

    def __init__(
        self, pool: RelayPool, relays: Iterable[Relay], size: int | None, bitrates: Mapping[Key, int], highest: int
    ) -> None:
        """`highest` is the highest of the bitrates."""
        self.pool = pool
        self.relays = {relay.uid: relay for relay in sorted(relays, key=lambda relay: relay.uid)}
        self.size = size
        self._bitrates = bitrates
        self.rooms = {uid: capacity(pool, relay) for uid, relay in self.relays.items()}
        self._limits = {uid: egress(pool, relay) for uid, relay in self.relays.items()}
        # Relays that end, with the places that are still free on them.
        self.draining = {uid: self.rooms[uid] for uid, relay in self.relays.items() if self._ends(relay)}
        # Cameras on each of the other relays, and the megabits a second of these.
        self.loads = {uid: 0 for uid in self.relays if uid not in self.draining}
        self.sent = dict.fromkeys(self.loads, 0)
        # Cameras that look for a relay, with where they were.
        self.homeless: dict[Key, Assignment | None] = {}
        # What all cameras of the pool take.
        self.demand = _NONE
        # Whether megabits may be short before places are; else nobody need count them.
        self.narrow = self._is_narrow(highest)
        # Relays that are to be emptied, or are away: they take no cameras as long as others can.
        self.closed: tuple[str, ...] = ()
        # Namespaces that `takes` was asked for and took.
        self.taken: set[str] = set()

    def _ends(self, relay: Relay) -> bool:
        """Where its StatefulSet has no place for it any more, its pod is about to be deleted."""
        return relay.draining or (self.size is not None and relay.ordinal is not None and relay.ordinal >= self.size)

    def _is_narrow(self, highest: int) -> bool:
        """Whether relays full of cameras that send so much send more than they may."""
        each = self.pool.spec.capacity
        rooms = [(each.cameras, each.egress_mbps), *zip(self.rooms.values(), self._limits.values(), strict=True)]
        return any(limit < room * highest for room, limit in rooms)

    @property
    def open(self) -> tuple[str, ...]:
        return tuple(uid for uid in self.loads if uid not in self.closed)

    @property
    def away(self) -> tuple[str, ...]:
        return tuple(uid for uid in self.loads if self.relays[uid].away)

    @property
    def overfull(self) -> list[str]:
        return [uid for uid, load in self.loads.items() if load > self.rooms[uid]]

    @property
    def uneven(self) -> tuple[dict[str, int], dict[str, int]]:
        """Where an open relay's load is uneven: those with more than their share, and those with less, by how many."""
        relays = self.open
        total, room = sum(self.loads[uid] for uid in relays), sum(self.rooms[uid] for uid in relays)
        shares = {uid: total * self.rooms[uid] / room for uid in relays}
        more = {uid: self.loads[uid] - share for uid, share in shares.items()}
        if all(abs(more[uid]) <= max(1.0, share * _UNEVEN) for uid, share in shares.items()):
            return {}, {}
        over = {uid: floor(by) for uid, by in more.items() if by >= 1}
        return over, {uid: floor(0.5 - by) for uid, by in more.items() if by <= -0.5}

    def rate(self, camera: Key) -> int:
        """Megabits a second."""
        return self._bitrates.get(camera, BITRATE)

    def leaves(self, camera: Key, uid: str) -> None:
        """The inverse of a `take`."""
        self.loads[uid] -= 1
        if self.narrow:
            self.sent[uid] -= self.rate(camera)

    def takes(self, namespace: str) -> bool:
        taken = self.pool.spec.takes(namespace)
        if taken:
            self.taken.add(namespace)
        return taken

    def suffices(self, size: int, headroom: int) -> bool:
        """So many relays leave the headroom free. Those that did not attach yet are thought of as like the others."""
        each, missing = self.pool.spec.capacity, self.missing(size)
        return self._fits(size, headroom, Room(missing * each.cameras, missing * each.egress_mbps), _NONE)

    def spares(self, size: int, headroom: int) -> bool:
        """So many relays, of those that are attached, leave the headroom free and a margin beyond it."""
        each = self.pool.spec.capacity
        margin = Room(max(1, each.cameras // _MARGIN), max(1, each.egress_mbps // _MARGIN))
        return not self.demand.cameras or self._fits(size, headroom, _NONE, margin)

    def beyond(self, size: int) -> list[tuple[str, int]]:
        """Relays, with their ordinals, that are too many in a pool of that size: the highest first."""
        ordinals = ((uid, relay.ordinal) for uid, relay in self.relays.items() if relay.ordinal is not None)
        many = ((uid, ordinal) for uid, ordinal in ordinals if size <= ordinal < (self.size or 0))
        return sorted(many, key=lambda each: (-each[1], each[0]))

    def take(
        self, cameras: Sequence[Key], among: Sequence[str], zone: Callable[[Key], str], most: int | None = None
    ) -> dict[Key, str]:
        """A relay of those for each camera that there is room for, but no more than `most` of them."""
        targets: dict[Key, str] = {}
        zones = sorted({self.relays[uid].zone for uid in among} - {""})
        waiting = list(cameras)
        while waiting and (room := min(self._free(among), len(waiting) if most is None else most - len(targets))) > 0:
            waiting = self._that_fit(waiting, among)
            batch, waiting = waiting[:room], waiting[room:]
            for each in zones:
                near = [uid for uid in among if self.relays[uid].zone == each]
                targets.update(self._seat([key for key in batch if zone(key) == each], near))
            targets.update(self._spread([key for key in batch if key not in targets], among))
        return targets

    def _seat(self, cameras: Sequence[Key], relays: Sequence[str]) -> dict[Key, str]:
        """A relay of those for each camera that there is room for."""
        targets: dict[Key, str] = {}
        while cameras and (room := self._free(relays)) > 0:
            cameras = self._that_fit(cameras, relays)
            targets.update(self._spread(cameras[:room], relays))
            cameras = cameras[room:]
        return targets

    def keeps(self, uid: str) -> bool:
        """Takes a place on a draining relay, for a camera that is on it and that nobody else can take."""
        room = self.draining.get(uid, 0)
        if room > 0:
            self.draining[uid] = room - 1
        return room > 0

    def missing(self, size: int) -> int:
        """Relays that are not attached, of those that a pool of that size has."""
        ordinals = {ordinal for uid in self.loads if (ordinal := self.relays[uid].ordinal) is not None}
        return max(0, size - len([ordinal for ordinal in ordinals if ordinal < size]))

    def _fits(self, size: int, headroom: int, more: Room, margin: Room) -> bool:
        """Whether so many relays and `more` room beside them take all cameras, with headroom and margin left free."""
        there = [uid for uid in self.loads if (self.relays[uid].ordinal or 0) < size]
        cameras = sum(self.rooms[uid] for uid in there) + more.cameras
        megabits = sum(self._limits[uid] for uid in there) + more.megabits
        filled = 100 - headroom
        if 100 * (self.demand.cameras + margin.cameras) > filled * cameras:
            return False
        return not self.narrow or 100 * (self.demand.megabits + margin.megabits) <= filled * megabits

    def _free(self, relays: Iterable[str]) -> int:
        return sum(self.rooms[uid] - self.loads[uid] for uid in relays)

    def _that_fit(self, cameras: Sequence[Key], relays: Iterable[str]) -> list[Key]:
        """The cameras that at least one of the relays, of which one has room for a camera, can send."""
        room = [uid for uid in relays if self.loads[uid] < self.rooms[uid]]
        if not self.narrow or any(not self.loads[uid] for uid in room):
            return list(cameras)
        widest = max(self._limits[uid] - self.sent[uid] for uid in room)
        return [key for key in cameras if self.rate(key) <= widest]

    def _spread(self, cameras: Sequence[Key], relays: Sequence[str]) -> dict[Key, str]:
        """A relay for each camera that one can send; there must be room for all."""
        if not cameras:
            return {}
        loads, rooms = self.loads, {uid: self.rooms[uid] for uid in relays}
        total, room = sum(loads[uid] for uid in relays) + len(cameras), sum(rooms.values())
        shares = {uid: total * weight // room for uid, weight in rooms.items()}
        density = _POINTS / self.pool.spec.capacity.cameras
        ring, owners = _ring(tuple((uid, max(1, round(weight * density))) for uid, weight in rooms.items()))
        targets: dict[Key, str] = {}
        left: list[Key] = []
        for key in cameras:
            uid = owners[bisect(ring, *_points(str(key), 1)) % len(ring)]
            if loads[uid] < shares[uid] and self._sends(uid, key):
                targets[key] = uid
            else:
                left.append(key)
        self._fill(left, rooms, targets)
        return targets

    def _fill(self, cameras: Sequence[Key], rooms: Mapping[str, int], targets: dict[Key, str]) -> None:
        """As seats are given out by Sainte-Laguë: in proportion to weight, however small the numbers."""
        loads = self.loads
        emptiest = [((loads[uid] + 0.5) / weight, uid) for uid, weight in rooms.items()]
        heapify(emptiest)
        for key in cameras:
            _, uid = emptiest[0]
            if self._sends(uid, key):
                heapreplace(emptiest, ((loads[uid] + 0.5) / rooms[uid], uid))
                targets[key] = uid
                continue
            for _, uid in sorted(emptiest):
                if loads[uid] < rooms[uid] and self._sends(uid, key):
                    targets[key] = uid
                    emptiest = [((loads[uid] + 0.5) / weight, uid) for uid, weight in rooms.items()]
                    heapify(emptiest)
                    break

    def _sends(self, uid: str, camera: Key) -> bool:
        """Puts the camera on the relay if that may send it too; an empty relay takes any."""
        if self.narrow:
            rate = self.rate(camera)
            if self.sent[uid] + rate > self._limits[uid] and self.loads[uid]:
                return False
            self.sent[uid] += rate
        self.loads[uid] += 1
        return True


@lru_cache(maxsize=4)
def _ring(counts: tuple[tuple[str, int], ...]) -> tuple[list[int], list[str]]:
    """Points in their order, and whose they are. Relays stay, so it would be made anew at every change for nothing."""
    points = sorted((point, uid) for uid, count in counts for point in _points(uid, count))
    return [point for point, _ in points], [uid for _, uid in points]


def _points(text: str, count: int) -> tuple[int, ...]:
    return struct.unpack(f"!{count}Q", shake_128(text.encode()).digest(8 * count))
