"""One synthetic camera: a scene drawn and encoded in a thread of its own, at the pace of a clock, for an RTSP stream.

x264 is PyAV's own copy; nothing but the demo encodes with it. Used by `cameras`, which owns the event loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.frame import PictureType

from pancar_cli.demo.picture import Picture, Planes
from pancar_cli.demo.rtsp import h264
from pancar_cli.demo.scenes import scene

_X264 = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "crf": "23",
    "forced-idr": "1",
    "x264-params": "scenecut=0:bframes=0:sliced-threads=0",
}


@dataclass(frozen=True, slots=True)
class Format:
    """What a camera sends. Width and height are even; `gop` is the seconds between key frames."""

    width: int = 640
    height: int = 360
    fps: int = 15
    gop: float = 2.0


class Encoder:
    """Planes in, NAL units out, without B-frames and without delay."""

    def __init__(self, form: Format) -> None:
        self._form = form
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt = form.width, form.height, "yuv420p"
        codec.time_base, codec.framerate = Fraction(1, form.fps), Fraction(form.fps)
        codec.gop_size, codec.max_b_frames, codec.thread_count = max(1, round(form.fps * form.gop)), 0, 1
        codec.options = dict(_X264)
        self._codec = codec

    def encode(self, planes: Planes, slot: int, key: bool) -> list[bytes]:
        """The NAL units of the frame in time slot `slot`; parameter sets come before each key frame."""
        frame = av.VideoFrame(self._form.width, self._form.height, "yuv420p")
        for target, plane in zip(frame.planes, planes, strict=True):
            target.update(_rows(plane.tobytes(), plane.width, target.line_size))
        frame.pts = slot
        frame.pict_type = PictureType.I if key else PictureType.NONE
        return [nal for packet in self._codec.encode(frame) for nal in h264.nals(bytes(packet))]


def _rows(data: bytes, width: int, line_size: int) -> bytes:
    """Rows padded to the encoder's line size, which is the width for the common formats."""
    if width == line_size:
        return data
    padding = bytes(line_size - width)
    return b"".join(data[at : at + width] + padding for at in range(0, len(data), width))


class Camera:
    """Runs between `start` and `stop`; `publish` is called on the camera's thread with each access unit."""

    def __init__(self, index: int, name: str, form: Format, publish: Callable[[h264.AccessUnit], None]) -> None:
        self._picture: Picture = scene(index, name, form.width, form.height)
        self._form = form
        self._publish = publish
        self._key_wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        # Cameras of one process draw at different instants, as real ones do, and share the processor better.
        self._phase = index * 0.381966 % 1 / form.fps
        encoder = Encoder(form)
        sets = h264.parameter_sets(encoder.encode(self._picture.at(time.time()), 0, key=True))
        if sets is None:
            raise RuntimeError("the encoder gave no parameter sets with its first frame")
        self.description = h264.Description(name, *sets)
        self._encoder = encoder

    def start(self) -> None:
        """Begins to encode."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; returns when it is over."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def want_key_frame(self) -> None:
        """The next frame is a key frame. From any thread."""
        self._key_wanted.set()

    def _run(self) -> None:
        ticks = h264.CLOCK_RATE // self._form.fps
        for slot in self._slots():
            captured = time.time()
            key = self._key_wanted.is_set()
            if key:
                self._key_wanted.clear()
            units = self._encoder.encode(self._picture.at(captured), slot, key)
            self._publish(h264.access_unit(units, slot * ticks, captured))

    def _slots(self) -> Iterator[int]:
        """Numbers of frame times, from 1, each yielded when it has come; those missed are left out."""
        started = time.monotonic() + self._phase
        slot = 0
        while True:
            slot = max(slot + 1, int((time.monotonic() - started) * self._form.fps))
            if self._stopped.wait(max(0.0, started + slot / self._form.fps - time.monotonic())):
                return
            yield slot
