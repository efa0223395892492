"""Which of its camera's streams each session is sent: the main one, or the sub, for small pictures and thin networks.

`whep_layers` brings what viewers choose, `sessions` the engine's events, a tick a second, and the end. Only sessions
that were anywhere but on the main stream, or have chosen, are known here. Runs in the event loop's thread alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pancar_relay._engine import Engine, Strained, Switched
from pancar_relay.desired import CameraKey
from pancar_relay.ingest.cameras import Cameras, View

# Seconds that a network is spared the main stream which it did not carry; twice as long each time that it fails again
# within SOON of being tried.
FIRST_REST = 15.0
LONGEST_REST = 300.0
SOON = 30.0


class Encoding(StrEnum):
    """A camera's streams, as viewers name them."""

    MAIN = "main"
    SUB = "sub"


@dataclass(slots=True)
class _Layered:
    camera: CameraKey
    viewer: int
    # What the viewer chose, who else leaves it to the relay.
    chosen: Encoding | None = None
    sent: Encoding = Encoding.MAIN
    # The engine's stream that it was last asked to send.
    asked: int | None = None
    # The main stream is not sent before; when it last was tried, and the rest that follows where that fails soon.
    rest_until: float = 0.0
    tried: float = -SOON
    rest: float = FIRST_REST
    # Whether the sub is held for it, and what lets it go.
    holds_sub: bool = False
    release: Callable[[], None] | None = None

    def wants(self, now: float) -> Encoding:
        return Encoding.SUB if self.chosen is Encoding.SUB or now < self.rest_until else Encoding.MAIN


class Layers:
    """What each session is sent, by the engine's viewer id."""

    def __init__(self, engine: Engine, cameras: Cameras) -> None:
        self._engine = engine
        self._cameras = cameras
        self._listeners: list[Callable[[int], None]] = []
        self._layered: dict[int, _Layered] = {}
        self._by_camera: dict[CameraKey, set[int]] = {}
        cameras.listen(self._on_camera)

    def listen(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Calls `listener` with each viewer who is sent another stream, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def sent(self, viewer: int) -> Encoding:
        layered = self._layered.get(viewer)
        return Encoding.MAIN if layered is None else layered.sent

    def choose(self, viewer: int, camera: CameraKey, encoding: Encoding | None) -> None:
        """The viewer wants that stream of the camera's, where it is to be had; None leaves it to his network."""
        layered = self._of(viewer, camera)
        layered.chosen = encoding
        self._decide(layered, time.monotonic())

    def on_event(self, event: Strained | Switched, camera: CameraKey) -> None:
        """An engine event of a session that watches the camera."""
        now = time.monotonic()
        match event:
            case Switched():
                self._arrived(self._of(event.viewer, camera), event.stream, now)
            case Strained(strained=True):
                self._spare(self._of(event.viewer, camera), now)

    def tick(self, now: float) -> None:
        """Tries the main stream with those who have rested from it; `now` is monotonic seconds."""
        for layered in self._layered.values():
            if layered.sent is Encoding.SUB:
                self._decide(layered, now)

    def forget(self, viewer: int) -> None:
        """The session is over."""
        layered = self._layered.pop(viewer, None)
        if layered is None:
            return
        if layered.release is not None:
            layered.release()
        viewers = self._by_camera[layered.camera]
        viewers.discard(viewer)
        if not viewers:
            del self._by_camera[layered.camera]

    def _on_camera(self, camera: CameraKey) -> None:
        """Its sub may have begun to bring pictures, or have ceased to."""
        now = time.monotonic()
        for viewer in tuple(self._by_camera.get(camera, ())):
            self._decide(self._layered[viewer], now)

    def _of(self, viewer: int, camera: CameraKey) -> _Layered:
        layered = self._layered.get(viewer)
        if layered is None:
            layered = self._layered[viewer] = _Layered(camera, viewer)
            self._by_camera.setdefault(camera, set()).add(viewer)
        return layered

    def _arrived(self, layered: _Layered, stream: int, now: float) -> None:
        view = self._cameras.view(layered.camera)
        is_sub = view is not None and view.sub is not None and view.sub.stream == stream
        layered.sent = Encoding.SUB if is_sub else Encoding.MAIN
        if layered.sent is Encoding.MAIN:
            layered.tried = now
        self._decide(layered, now)
        for listener in list(self._listeners):
            listener(layered.viewer)

    def _spare(self, layered: _Layered, now: float) -> None:
        view = self._cameras.view(layered.camera)
        if layered.sent is Encoding.SUB or view is None or not view.has_sub:
            # There is nothing smaller; the engine sends key frames alone.
            return
        failed_again = now - layered.tried < SOON
        layered.rest = min(LONGEST_REST, 2 * layered.rest) if failed_again else FIRST_REST
        layered.rest_until = now + layered.rest
        self._decide(layered, now)

    def _decide(self, layered: _Layered, now: float) -> None:
        view = self._cameras.view(layered.camera)
        if view is None:
            return
        wanted = layered.wants(now)
        if wanted is Encoding.SUB and not layered.holds_sub:
            # First, for it may change the camera, and be told of that before it returns.
            layered.holds_sub = True
            layered.release = self._cameras.need_sub(layered.camera)
            view = self._cameras.view(layered.camera) or view
        stream = _stream(view, wanted)
        if stream is not None and stream != layered.asked:
            layered.asked = stream
            self._engine.switch(layered.viewer, stream)
        if wanted is Encoding.MAIN and layered.sent is Encoding.MAIN and layered.release is not None:
            release, layered.release, layered.holds_sub = layered.release, None, False
            release()


def _stream(view: View, wanted: Encoding) -> int | None:
    """The engine's stream to be sent: the main one as long as there is no sub."""
    return view.sub.stream if wanted is Encoding.SUB and view.sub is not None else view.stream
