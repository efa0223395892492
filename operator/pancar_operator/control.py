"""Serves ControlPlane.Attach: relays dial in, say what they are and what they pull, and are sent what they shall do.

The only module of the operator where model and protobuf meet. `reconcile` takes the holdings from here and gives steps;
what relays report goes into `Known`. For each relay:

    Hello ──► seat ──► full Desired, again at every change, the newest one only if the relay is slow
              Ack  ──► what it may hold shrinks to what it acknowledged
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from pancar_proto.channel import server
from pancar_proto.logs import redact
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1 import control_pb2_grpc

from pancar_operator.access import Access
from pancar_operator.model import DEFAULT_NAMESPACE, CameraState, Key, Placement, Relay, Report, Transport, Video
from pancar_operator.observe import Endpoint, Known
from pancar_operator.steps import Holding, Release, Step

HELLO_SECONDS: Final = 10.0
_TEXT_MAX: Final = 1000

_log = structlog.get_logger(__name__)

_STATES: Final[Mapping[int, CameraState]] = {
    pb.CAMERA_STATE_WAITING: CameraState.WAITING,
    pb.CAMERA_STATE_LIVE: CameraState.LIVE,
    pb.CAMERA_STATE_OFFLINE: CameraState.OFFLINE,
}
_TRANSPORTS: Final["Mapping[Transport, pb.Transport.ValueType]"] = {
    Transport.AUTO: pb.TRANSPORT_UNSPECIFIED,
    Transport.TCP: pb.TRANSPORT_TCP,
    Transport.UDP: pb.TRANSPORT_UDP,
}


@dataclass(slots=True)
class _Stream:
    """One Attach stream; a seat has at most one that counts."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    # Why it ends; empty while it lasts.
    ended: str = ""

    def end(self, reason: str) -> None:
        self.ended = self.ended or reason
        self.wake.set()


@dataclass(slots=True)
class _Seat:
    """What one relay shall do and may be doing; it outlives the relay's streams, until `retain` drops it."""

    stream: _Stream
    desired: dict[Key, Placement] = field(default_factory=dict)
    acked: frozenset[Key] = frozenset()
    # Cameras and access of the states sent and not acknowledged yet, by version.
    in_flight: dict[int, tuple[frozenset[Key], Access]] = field(default_factory=dict)
    # No plan has counted this relay in yet: an empty state now would make it drop what it pulls.
    planned: bool = False
    dirty: bool = True

    def holding(self) -> Holding:
        return Holding(dict(self.desired), self.acked.union(*(keys for keys, _ in self.in_flight.values())))

    def applied(self, version: int) -> Access | None:
        """The relay lives by a state: it holds no more than that and what was sent since. Returns its access."""
        if version not in self.in_flight:
            return None
        self.acked, access = self.in_flight[version]
        self.in_flight = {later: sent for later, sent in self.in_flight.items() if later > version}
        return access

    def refused(self, version: int) -> None:
        self.in_flight.pop(version, None)


class ControlPlane(control_pb2_grpc.ControlPlaneServicer):
    """The operator's end of every Attach stream."""

    def __init__(self, known: Known, *, term: int, link_used: Callable[[bytes], None]) -> None:
        self._known = known
        self._term = term
        self._version = 0
        self._link_used = link_used
        self._access = Access()
        self._seats: dict[str, _Seat] = {}

    def listen(self, target: str) -> grpc.aio.Server:
        """A server of it at `target` ("unix:/path"), not yet started. Raises OSError, see `channel.server`."""
        listening = server(target)
        control_pb2_grpc.add_ControlPlaneServicer_to_server(self, listening)
        return listening

    def holdings(self) -> dict[str, Holding]:
        """By relay uid, what each shall do and may be doing."""
        return {uid: seat.holding() for uid, seat in self._seats.items()}

    def retain(self, uids: Iterable[str]) -> None:
        """Forgets all other relays; what they held counts no more."""
        kept = set(uids)
        for uid in [uid for uid in self._seats if uid not in kept]:
            self._seats.pop(uid).stream.end("forgotten")

    def apply(self, steps: Iterable[Step], access: Access) -> None:
        """Takes a plan's steps; the relays they touch are sent their new state."""
        for step in steps:
            seat = self._seats[step.relay]
            if isinstance(step, Release):
                del seat.desired[step.camera]
            else:
                seat.desired[step.camera] = step.placement
            seat.dirty = True
            _log.debug("step", kind=type(step).__name__, relay=step.relay, camera=str(step.camera))
        for seat in self._seats.values():
            seat.dirty = seat.dirty or access != self._access or not seat.planned
            seat.planned = True
            if seat.dirty:
                seat.stream.wake.set()
        self._access = access

    async def Attach(  # noqa: N802 - the name in control.proto
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[pb.Desired]:
        """One relay's stream, until it ends or the same relay attaches again."""
        reports: AsyncIterator[pb.Report] = aiter(request_iterator)
        hello = await self._hello(reports, context)
        uid = hello.relay_uid
        stream = _Stream()
        seat = self._seat(uid, stream)
        self._known.attach(_relay(hello), Endpoint(hello.http_url, tuple(hello.media_addresses)))
        log = _log.bind(relay=uid)
        log.info("relay.attached", pool=hello.pool, version=hello.version, url=hello.http_url)
        reading = asyncio.create_task(self._read(uid, seat, stream, reports))
        reading.add_done_callback(lambda _: stream.end("closed by the relay"))
        try:
            async for desired in self._desired(seat, stream):
                yield desired
            if stream.ended == "replaced":
                await context.abort(grpc.StatusCode.ABORTED, "the same relay attached again")
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            log.info("relay.detached", reason=stream.ended or "connection lost")
            if seat.stream is stream and self._seats.get(uid) is seat:
                self._known.detach(uid)

    async def _hello(self, reports: AsyncIterator[pb.Report], context: Any) -> pb.Hello:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await anext(reports)
        except (TimeoutError, StopAsyncIteration):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no Hello came")
        hello = first.hello
        if first.WhichOneof("kind") != "hello" or not 0 < len(hello.relay_uid) <= 64:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first report must be a Hello with a relay_uid")
        return hello

    def _seat(self, uid: str, stream: _Stream) -> _Seat:
        seat = self._seats.get(uid)
        if seat is None:
            seat = self._seats[uid] = _Seat(stream)
        else:
            seat.stream.end("replaced")
            seat.stream = stream
            seat.dirty = True
            if seat.planned:
                stream.wake.set()
        return seat

    async def _desired(self, seat: _Seat, stream: _Stream) -> AsyncIterator[pb.Desired]:
        while True:
            await stream.wake.wait()
            stream.wake.clear()
            if stream.ended:
                return
            if seat.planned and seat.dirty:
                seat.dirty = False
                self._version += 1
                seat.in_flight[self._version] = (frozenset(seat.desired), self._access)
                yield _desired(self._term, self._version, seat.desired, self._access)

    async def _read(self, uid: str, seat: _Seat, stream: _Stream, reports: AsyncIterator[pb.Report]) -> None:
        async for report in reports:
            if stream.ended:
                return
            match report.WhichOneof("kind"):
                case "ack":
                    self._acknowledged(uid, seat, report.ack)
                case "camera":
                    key = Key(report.camera.namespace, report.camera.name)
                    if key in seat.desired:
                        self._known.report(key, _report(uid, report.camera))
                case "link_used":
                    self._link_used(report.link_used.code_sha256)

    def _acknowledged(self, uid: str, seat: _Seat, ack: pb.Ack) -> None:
        if ack.term != self._term:
            return
        if ack.error:
            _log.warning("desired.refused", relay=uid, version=ack.version, error=ack.error[:_TEXT_MAX])
            seat.refused(ack.version)
        elif (access := seat.applied(ack.version)) is not None:
            self._known.applied(uid, access)
        # A release that is acknowledged lets the camera go on to its next relay.
        self._known.changed.set()


def _relay(hello: pb.Hello) -> Relay:
    namespace, _, name = hello.pool.rpartition("/")
    return Relay(hello.relay_uid, Key(namespace or DEFAULT_NAMESPACE, name), hello.capacity.cameras)


def _report(uid: str, status: pb.CameraStatus) -> Report:
    video = None
    if status.HasField("video"):
        wire = status.video
        video = Video(wire.codec, wire.profile_level_id, wire.width, wire.height, wire.fps or None)
    return Report(
        relay=uid,
        state=_STATES.get(status.state, CameraState.WAITING),
        reason=status.reason[:64],
        message=redact(status.message[:_TEXT_MAX]),
        since=status.since.ToDatetime(UTC) if status.HasField("since") else None,
        video=video,
    )


def _desired(term: int, version: int, cameras: Mapping[Key, Placement], access: Access) -> pb.Desired:
    return pb.Desired(
        term=term,
        version=version,
        assignments=[_assignment(key, placement) for key, placement in sorted(cameras.items())],
        access=_access(access),
    )


def _assignment(key: Key, placement: Placement) -> pb.Assignment:
    spec = placement.camera.spec
    main, credentials = spec.source.main, placement.credentials
    return pb.Assignment(
        namespace=key.namespace,
        name=key.name,
        title=spec.title or "",
        site=(spec.location.site or "") if spec.location else "",
        main=pb.Source(
            url=main.url,
            transport=_TRANSPORTS[main.transport],
            username=credentials.username if credentials else "",
            password=credentials.password if credentials else "",
        ),
        paused=spec.paused is not None,
        paused_reason=spec.paused.reason if spec.paused else "",
    )


def _access(access: Access) -> pb.Access:
    return pb.Access(
        keys=[pb.VerificationKey(kid=key.kid, pem=key.pem) for key in access.keys],
        issuer=access.issuer,
        audience=access.audience,
        links=[
            pb.Link(code_sha256=link.code_sha256, token=link.token, not_after=Timestamp(seconds=link.not_after))
            for link in access.links
        ],
    )
