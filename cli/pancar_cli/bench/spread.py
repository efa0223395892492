"""How far apart a frame comes to all who watch it: from its publication to the last viewer's last packet.

Used by `fanout`, `join` and `impair`. The kernel keeps each frame's last packet for each viewer, with the moment it
came (`LightViewer.hold`); which frame that is, its timestamp tells once one packet of the viewer has been opened.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pylibsrtp

from pancar_cli.bench.camera import CLOCK_RATE
from pancar_cli.bench.figures import BenchError, percentile
from pancar_cli.bench.rig import Rig, Source
from pancar_cli.bench.viewer import LightViewer

# What the kernel keeps for a viewer in that time fits into a socket's usual buffer.
_WINDOW_S = 1.5
# Packets under way when a window begins or ends.
_MARGIN_S = 0.2
_LONG_AFTER = 10.0


@dataclass(slots=True)
class Spreads:
    """Milliseconds from publication to the last viewer's last packet, frame by frame. Of all `expected` frames of
    single viewers, `late` came more than a frame interval after publication, or never."""

    ordinary: list[float] = field(default_factory=list)
    key: list[float] = field(default_factory=list)
    late: int = 0
    expected: int = 0

    def p95(self) -> float:
        """Of the ordinary frames. Raises BenchError where none was seen."""
        if not self.ordinary:
            raise BenchError("no frame came to the viewers")
        return percentile(self.ordinary, 95)

    def worst_key(self) -> float:
        """Raises BenchError where no key frame was seen."""
        if not self.key:
            raise BenchError("no key frame came to the viewers")
        return max(self.key)


@dataclass(slots=True)
class _Watcher:
    viewer: LightViewer
    # A timestamp of this viewer's stream, and the number of the frame that bears it.
    anchor: tuple[int, int] | None = None


class Audience:
    """Viewers that have joined and listen no longer. `measure` as often as wanted."""

    def __init__(self, ready: Rig, viewers: Iterable[LightViewer]) -> None:
        self._source = ready.source
        self._fps = ready.cameras.fps
        self._watchers = [_Watcher(viewer) for viewer in viewers]
        for watcher in self._watchers:
            watcher.viewer.hold()

    async def measure(self, seconds: float, *, for_key: float = 0.0) -> Spreads:
        """Goes on for up to `for_key` seconds where no key frame was published while it looked. Raises BenchError where
        a viewer gets nothing that he can open."""
        spreads = Spreads()
        ends = time.monotonic() + seconds
        while (now := time.monotonic()) < ends or (not spreads.key and now < ends + for_key):
            for watcher in self._watchers:
                watcher.viewer.held()
            began = time.time()
            await asyncio.sleep(_WINDOW_S)
            window = (began + _MARGIN_S, time.time() - _MARGIN_S)
            # Packets of the window's last frames are still on their way to somebody.
            await asyncio.sleep(_MARGIN_S)
            arrivals = self._collect()
            account(spreads, await asyncio.to_thread(self._source.published), arrivals, window, self._gop, self._fps)
        return spreads

    @property
    def _gop(self) -> int:
        return len(self._source.tails)

    def _collect(self) -> list[dict[int, float]]:
        """What came to each viewer in the window: frames by their number, and when."""
        came = [(watcher, watcher.viewer.held()) for watcher in self._watchers]
        # A whole window of packets: of a single one the last bytes may lie in the packet before.
        unknown = [(watcher, held) for watcher, held in came if held and watcher.anchor is None]
        published = self._source.published() if unknown else {}
        for watcher, held in unknown:
            watcher.anchor = _anchor(watcher.viewer, held, self._source, published)
        return [{self._number(watcher, packet): at for at, packet in held} for watcher, held in came]

    def _number(self, watcher: _Watcher, packet: bytes) -> int:
        if watcher.anchor is None:
            raise BenchError("a viewer's frames are not known")
        timestamp, number = watcher.anchor
        ahead: int = (struct.unpack_from("!I", packet, 4)[0] - timestamp + 2**31) % 2**32 - 2**31
        return number + round(ahead * self._fps / CLOCK_RATE)


def _anchor(
    viewer: LightViewer, held: Sequence[tuple[float, bytes]], source: Source, published: Mapping[int, float]
) -> tuple[int, int]:
    """Opens packets until one of them is known: the newest frame before it with these last bytes."""
    for at, packet in held:
        try:
            plain = viewer.unprotect(packet)
        except pylibsrtp.Error:
            continue
        for place, tail in enumerate(source.tails):
            if plain.endswith(tail):
                before = [n for n, then in published.items() if n % len(source.tails) == place and then < at]
                if before:
                    return struct.unpack_from("!I", plain, 4)[0], max(before)
    raise BenchError("none of a viewer's packets is one of the camera's")


def account(
    spreads: Spreads,
    published: Mapping[int, float],
    arrivals: Sequence[Mapping[int, float]],
    window: tuple[float, float],
    gop: int,
    fps: int,
) -> None:
    """Adds the frames that were published within the window; the first of each GOP is its key frame."""
    for number, at in published.items():
        if not window[0] <= at < window[1]:
            continue
        took = [came[number] - at if number in came else _LONG_AFTER for came in arrivals]
        spreads.expected += len(took)
        spreads.late += sum(each > 1 / fps for each in took)
        came = [each for each in took if each < _LONG_AFTER]
        if came:
            (spreads.ordinary if number % gop else spreads.key).append(max(came) * 1e3)
