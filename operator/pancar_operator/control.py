"""Serves ControlPlane.Attach: relays dial in, say what they are and what they pull, and are sent what they shall do.

The only module of the operator where model and protobuf meet. `reconcile` takes the holdings from here and gives steps;
what relays report goes into `Known`. For each relay:

    Hello ──► seat ──► full Desired, again at every change, the newest one only if the relay is slow
              Ack  ──► what it may hold shrinks to what it acknowledged

A stream is taken from the relay that its certificate names, for as long as the certificate is good.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
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
from pancar_operator.authority import Current, Peer, peer
from pancar_operator.model import DEFAULT_NAMESPACE, Credentials, Key, Placement, Relay, Stream, Transport
from pancar_operator.observe import Endpoint, Known, MediaAddresses
from pancar_operator.report import CameraState, Report, Video
from pancar_operator.steps import Holding, Release, Step

HELLO_SECONDS: Final = 10.0
_TEXT_MAX: Final = 1000
_REPLACED: Final = "replaced"
_RUN_OUT: Final = "its certificate has run out"

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
    # What it lives by: the cameras of the state it acknowledged last, those of its Hello until it has.
    acked: frozenset[Key] = frozenset()
    # Cameras and access of the states sent and not acknowledged yet, by version.
    in_flight: dict[int, tuple[frozenset[Key], Access]] = field(default_factory=dict)
    # No plan has counted this relay in yet: an empty state now would make it drop what it pulls.
    planned: bool = False
    dirty: bool = True
    # Media addresses in the state that was sent last.
    addresses: MediaAddresses = field(default_factory=MediaAddresses)

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

    def pulls(self, camera: Key) -> bool:
        """Whether what it says of a camera is of interest."""
        return camera in (self.desired if self.planned else self.acked)


class ControlPlane(control_pb2_grpc.ControlPlaneServicer):
    """The operator's end of every Attach stream."""

    def __init__(self, known: Known, *, term: int, link_used: Callable[[bytes], None]) -> None:
        self._known = known
        self._term = term
        self._version = 0
        self._link_used = link_used
        self._access = Access()
        self._seats: dict[str, _Seat] = {}

    def listen(self, target: str, current: Current) -> tuple[grpc.aio.Server, int]:
        """A server of it at `target`, not yet started, and its port. Raises OSError, see `channel.server`."""
        listening, port = server(target, current, clients=True)
        control_pb2_grpc.add_ControlPlaneServicer_to_server(self, listening)
        return listening, port

    def holdings(self) -> dict[str, Holding]:
        """By relay uid, what each shall do and may be doing."""
        return {uid: seat.holding() for uid, seat in self._seats.items()}

    def expect(self, uid: str, holding: frozenset[Key]) -> None:
        """A relay that has not attached yet, and pulls these cameras."""
        self._seat(uid, _Stream(), holding)

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
        for uid, seat in self._seats.items():
            moved = seat.addresses != self._known.addresses(uid)
            seat.dirty = seat.dirty or access != self._access or not seat.planned or moved
            seat.planned = True
            if seat.dirty:
                seat.stream.wake.set()
        self._access = access

    async def Attach(  # noqa: N802 - the name in control.proto
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[pb.Desired]:
        """One relay's stream, until it ends, its certificate runs out or the same relay attaches again."""
        named = await self._peer(context)
        reports: AsyncIterator[pb.Report] = aiter(request_iterator)
        hello = await self._hello(reports, context, named)
        uid = hello.relay_uid
        stream = _Stream()
        holding = frozenset(Key(key.namespace, key.name) for key in hello.holding)
        seat = self._seat(uid, stream, holding)
        self._known.attach(_relay(hello), Endpoint(hello.http_url, tuple(hello.media_addresses)), holding)
        log = _log.bind(relay=uid)
        log.info("relay.attached", pool=hello.pool, version=hello.version, url=hello.http_url, holding=len(holding))
        left = (named.not_after - datetime.now(UTC)).total_seconds()
        running_out = asyncio.get_running_loop().call_later(left, stream.end, _RUN_OUT)
        reading = asyncio.create_task(self._read(uid, seat, stream, reports))
        reading.add_done_callback(lambda _: stream.end("closed by the relay"))
        try:
            async for desired in self._desired(uid, seat, stream):
                yield desired
        finally:
            running_out.cancel()
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            log.info("relay.detached", reason=stream.ended or "connection lost")
            if seat.stream is stream and self._seats.get(uid) is seat:
                self._known.detach(uid)
        # Not before: it ends the reading too, by an error.
        if stream.ended == _REPLACED:
            await context.abort(grpc.StatusCode.ABORTED, "the same relay attached again")
        if stream.ended == _RUN_OUT:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the relay's certificate has run out")

    async def _peer(self, context: Any) -> Peer:
        """The relay that the certificate of the connection names; its authority was verified in the handshake."""
        shown = context.auth_context().get("x509_pem_cert", ())
        try:
            if len(shown) != 1:
                raise ValueError("no certificate was shown")
            named = peer(shown[0])
            # Whoever looks at whole seconds only lets it in for a part of one.
            if named.not_after <= datetime.now(UTC):
                raise ValueError(_RUN_OUT)
        except ValueError as error:
            _log.warning("relay.refused", peer=context.peer(), reason=str(error))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            raise AssertionError("abort raises") from None
        return named

    async def _hello(self, reports: AsyncIterator[pb.Report], context: Any, named: Peer) -> pb.Hello:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await anext(reports)
        except (TimeoutError, StopAsyncIteration):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no Hello came")
        hello = first.hello
        if first.WhichOneof("kind") != "hello" or not 0 < len(hello.relay_uid) <= 64:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first report must be a Hello with a relay_uid")
        claimed = hello.relay_uid, _pool(hello)
        if claimed != (named.uid, named.pool):
            reason = (
                f"the certificate is of relay {named.uid} in pool {named.pool}, not of {claimed[0]} in {claimed[1]}"
            )
            _log.warning("relay.refused", peer=context.peer(), reason=reason)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, reason)
        return hello

    def _seat(self, uid: str, stream: _Stream, holding: frozenset[Key]) -> _Seat:
        seat = self._seats.get(uid)
        if seat is None:
            seat = self._seats[uid] = _Seat(stream)
        else:
            seat.stream.end(_REPLACED)
            seat.stream = stream
            seat.dirty = True
            if seat.planned:
                stream.wake.set()
        seat.acked = holding
        return seat

    async def _desired(self, uid: str, seat: _Seat, stream: _Stream) -> AsyncIterator[pb.Desired]:
        while True:
            await stream.wake.wait()
            stream.wake.clear()
            if stream.ended:
                return
            if seat.planned and seat.dirty:
                seat.dirty = False
                self._version += 1
                seat.in_flight[self._version] = (frozenset(seat.desired), self._access)
                seat.addresses = self._known.addresses(uid)
                yield pb.Desired(
                    term=self._term,
                    version=self._version,
                    assignments=[_assignment(key, placement) for key, placement in sorted(seat.desired.items())],
                    access=_access(self._access),
                    media_addresses=seat.addresses.udp,
                    media_tcp_addresses=seat.addresses.tcp,
                )

    async def _read(self, uid: str, seat: _Seat, stream: _Stream, reports: AsyncIterator[pb.Report]) -> None:
        async for report in reports:
            if stream.ended:
                return
            match report.WhichOneof("kind"):
                case "ack":
                    self._acknowledged(uid, seat, report.ack)
                case "camera":
                    key = Key(report.camera.namespace, report.camera.name)
                    if seat.pulls(key):
                        self._known.report(key, _report(uid, report.camera))
                case "link_used":
                    self._link_used(report.link_used.code_sha256)
                case "drain":
                    _log.info("relay.drains", relay=uid, reason=redact(report.drain.reason[:_TEXT_MAX]))
                    self._known.drain(uid)

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


def _pool(hello: pb.Hello) -> Key:
    namespace, _, name = hello.pool.rpartition("/")
    return Key(namespace or DEFAULT_NAMESPACE, name)


def _relay(hello: pb.Hello) -> Relay:
    capacity = hello.capacity
    return Relay(hello.relay_uid, _pool(hello), capacity.cameras, egress_mbps=capacity.egress_mbps)


def _report(uid: str, status: pb.CameraStatus) -> Report:
    wire = status.video if status.HasField("video") else None
    return Report(
        relay=uid,
        state=_STATES.get(status.state, CameraState.WAITING),
        reason=intern(status.reason[:64]),
        message=redact(status.message[:_TEXT_MAX]),
        video=wire and _video(wire.codec, wire.profile_level_id, wire.width, wire.height, wire.fps),
        bitrate_kbps=wire.bitrate_kbps if wire else 0,
        generation=status.generation,
    )


# Most cameras are of a few models.
@lru_cache(maxsize=1000)
def _video(codec: str, profile_level_id: str, width: int, height: int, fps: float) -> Video:
    return Video(codec, profile_level_id, width, height, fps or None)


def _assignment(key: Key, placement: Placement) -> pb.Assignment:
    spec = placement.camera.spec
    source, credentials = spec.source, placement.credentials
    sub = source.spare_sub
    return pb.Assignment(
        namespace=key.namespace,
        name=key.name,
        title=spec.title or "",
        site=(spec.location.site or "") if spec.location else "",
        main=_source(source.main, credentials),
        sub=_source(sub, credentials) if sub is not None else None,
        paused=spec.paused is not None,
        paused_reason=spec.paused.reason if spec.paused else "",
        generation=placement.generation,
    )


def _source(stream: Stream, credentials: Credentials | None) -> pb.Source:
    return pb.Source(
        url=stream.url,
        transport=_TRANSPORTS[stream.transport],
        username=credentials.username if credentials else "",
        password=credentials.password if credentials else "",
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
