"""The relay's Prometheus metrics. `web` serves what `Metrics.render` returns; labels name cameras and no secret.

Everything is read at the scrape: nothing is counted twice, and a relay nobody scrapes pays nothing.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from pancar_relay._engine import EngineStats, StreamStats
from pancar_relay.desired import CameraKey
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.ingest.faults import Fault
from pancar_relay.ingest.pulls import State
from pancar_relay.stats import Stats
from pancar_relay.viewer.sessions import Sessions

CONTENT_TYPE = CONTENT_TYPE_LATEST
CAMERA = ("namespace", "camera")


@dataclass(frozen=True, slots=True)
class Scrape:
    """All that one scrape shows, taken at one moment."""

    views: list[View]
    faults: Mapping[tuple[CameraKey, Fault], int]
    joins: Mapping[str, int]
    sessions: int
    engine: EngineStats | None
    attached: bool


class Metrics:
    def __init__(self, cameras: Cameras, sessions: Sessions, stats: Stats, attached: Callable[[], bool]) -> None:
        self._cameras = cameras
        self._sessions = sessions
        self._stats = stats
        self._attached = attached

    async def render(self) -> bytes:
        """The text exposition."""
        # Counters of an earlier moment would show a scraper a rate that is none: his clock is the scrape's.
        stats = await self._stats.take(max_age=0.0)
        scrape = Scrape(
            views=self._cameras.views(),
            faults=dict(self._cameras.faults),
            joins=dict(self._sessions.outcomes),
            sessions=len(self._sessions),
            engine=stats,
            attached=self._attached(),
        )
        # Hundreds of cameras make thousands of lines: off the loop, which joins run in.
        return await asyncio.to_thread(exposition, scrape)


def exposition(scrape: Scrape) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(scrape))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterator[Metric]:
        yield from self._relay()
        yield from self._cameras()
        if self._scrape.engine is not None:
            yield from self._streams(self._scrape.engine)
            yield from self._engine(self._scrape.engine)

    def _relay(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("pancar_sessions", "Viewing sessions, joining ones included.", self._scrape.sessions)
        attached = float(self._scrape.attached)
        yield GaugeMetricFamily("pancar_control_attached", "1 while the operator is attached.", attached)
        joins = CounterMetricFamily("pancar_joins", "Joins by outcome.", labels=("outcome",))
        for outcome, count in self._scrape.joins.items():
            joins.add_metric((outcome,), count)
        yield joins

    def _cameras(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("pancar_camera_up", "1 while the camera's pictures arrive.", labels=CAMERA)
        for view in self._scrape.views:
            up.add_metric(view.key, float(view.state is State.LIVE))
        yield up
        faults = CounterMetricFamily("pancar_camera_faults", "Ends of pulls by cause.", labels=(*CAMERA, "reason"))
        for (key, fault), count in self._scrape.faults.items():
            faults.add_metric((*key, fault), count)
        yield faults

    def _streams(self, engine: EngineStats) -> Iterator[Metric]:
        keys = {view.stream: view.key for view in self._scrape.views}
        rows = [(keys[stats.stream], stats) for stats in engine.streams if stats.stream in keys]
        for name, text, read in _STREAM_COUNTERS:
            counter = CounterMetricFamily(name, text, labels=CAMERA)
            for key, stats in rows:
                counter.add_metric(key, read(stats))
            yield counter
        dropped = CounterMetricFamily(
            "pancar_camera_frames_dropped", "Frames that viewers were not sent, by reason.", labels=(*CAMERA, "reason")
        )
        for key, stats in rows:
            for reason, count in stats.frames_dropped.items():
                dropped.add_metric((*key, reason), count)
        yield dropped
        age = GaugeMetricFamily("pancar_camera_last_frame_age_seconds", "Age of the newest frame.", labels=CAMERA)
        viewers = GaugeMetricFamily("pancar_camera_viewers", "Viewers of the camera.", labels=CAMERA)
        for key, stats in rows:
            viewers.add_metric(key, stats.viewers)
            if stats.last_frame_age is not None:
                age.add_metric(key, stats.last_frame_age)
        yield from (viewers, age)

    def _engine(self, engine: EngineStats) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "pancar_packets_dropped", "Packets the socket would not take.", engine.packets_dropped
        )
        yield CounterMetricFamily(
            "pancar_datagrams_rejected",
            "Datagrams from no known viewer, or that failed authentication.",
            engine.datagrams_rejected,
        )
        yield GaugeMetricFamily(
            "pancar_tcp_connections", "Viewers' TCP connections, unproven ones included.", engine.tcp_connections
        )
        yield GaugeMetricFamily("pancar_gso", "1 while sends use UDP segmentation offload.", float(engine.gso))


_STREAM_COUNTERS: list[tuple[str, str, Callable[[StreamStats], int]]] = [
    ("pancar_camera_frames", "Frames received from the camera.", lambda s: s.frames),
    ("pancar_camera_key_frames", "Key frames received from the camera.", lambda s: s.key_frames),
    ("pancar_camera_bytes", "Bytes of H.264 received from the camera.", lambda s: s.bytes),
    ("pancar_camera_packets_lost", "RTP packets lost on the way from the camera.", lambda s: s.packets_lost),
    ("pancar_camera_packets_sent", "RTP packets sent to the camera's viewers.", lambda s: s.packets_sent),
    ("pancar_camera_bytes_sent", "Bytes of sealed RTP sent to the camera's viewers.", lambda s: s.bytes_sent),
    ("pancar_camera_packets_resent", "RTP packets sent again on a viewer's NACK.", lambda s: s.packets_resent),
    ("pancar_camera_pictures_requested", "PLI and FIR of the camera's viewers.", lambda s: s.pictures_requested),
    ("pancar_camera_pictures_resent", "Of those, answered before the next key frame.", lambda s: s.pictures_resent),
]
