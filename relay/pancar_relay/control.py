"""The relay's end of ControlPlane.Attach, which turns the wire's messages into the relay's own terms and back.

`__main__` runs it beside everything else. It dials the operator for as long as the process lives; what it is told it
hands on as `Desired`, and with nobody there everything goes on as it was last told (media never waits for control).
A process started anew lives by what the one before had acknowledged, unless the operator is quicker.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from pancar_proto.channel import channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneStub

from pancar_relay.desired import Access, Assignment, CameraKey, Desired, Link, MediaAddresses, Source, Transport
from pancar_relay.enrol import Credentials, Enrolment
from pancar_relay.errors import StaleDesiredError
from pancar_relay.ingest.bitrates import Bitrates
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.ingest.pulls import State
from pancar_relay.kept import Kept
from pancar_relay.settings import Address, Capacity, parse_address
from pancar_relay.viewer.rights import Rights

log = structlog.get_logger()

Call = grpc.aio.StreamStreamCall[pb.Report, pb.Desired]

# Seconds before dialling again: doubled from first to last, jittered, afresh after each state received. A new leader
# waits for its relays before it plans: they must not be long.
BACKOFF_FIRST = 0.1
BACKOFF_LAST = 2.0
# What the operator gets to answer first, before a new process lives by what the one before was told.
PATIENCE = 2.0
FINISH_TIMEOUT = 1.0
_KEPT = "desired"

# Anything else is Auto.
_TRANSPORTS: dict[int, Transport] = {pb.TRANSPORT_TCP: "tcp", pb.TRANSPORT_UDP: "udp"}
_STATES = {
    State.WAITING: pb.CAMERA_STATE_WAITING,
    State.LIVE: pb.CAMERA_STATE_LIVE,
    State.OFFLINE: pb.CAMERA_STATE_OFFLINE,
    # The operator knows its own pauses; to it such a camera is simply not pulled.
    State.PAUSED: pb.CAMERA_STATE_OFFLINE,
}
PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the relay says of itself when it attaches."""

    relay_uid: str
    pool: str
    version: str
    http_url: str
    media_addresses: MediaAddresses
    capacity: Capacity


@dataclass(frozen=True, slots=True)
class Facts:
    """What the relay reports from."""

    cameras: Cameras
    bitrates: Bitrates
    rights: Rights


class Order:
    """Which desired states are newer than the one held, `kept` by the process before at first. Pure."""

    def __init__(self, kept: Desired | None = None) -> None:
        self._held = (kept.term, kept.version) if kept is not None else (0, 0)

    def check(self, desired: Desired) -> None:
        """Raises StaleDesiredError for a state of an older term or version; the one held may come again."""
        term, version = self._held
        if desired.term < term:
            raise StaleDesiredError(f"term {desired.term} is over: this relay has followed term {term}")
        if (desired.term, desired.version) < self._held:
            raise StaleDesiredError(f"version {desired.version} has been overtaken by {version}")

    def hold(self, desired: Desired) -> None:
        self._held = (desired.term, desired.version)


class Control:
    """Attaches and reattaches. `on_desired` applies a state, or raises ValueError having changed nothing.

    New credentials are tried on a stream of their own; the one before ends when that has brought its first state.
    """

    def __init__(
        self,
        target: str,
        enrolment: Enrolment,
        identity: Identity,
        facts: Facts,
        kept: Kept | None,
        on_desired: Callable[[Desired], None],
    ) -> None:
        self._target = target
        self._enrolment = enrolment
        self._identity = identity
        self._facts = facts
        self._kept = kept
        self._on_desired = on_desired
        # What the relay lives by, or will if nobody tells it otherwise in time.
        self._applied = _read_kept(kept) if kept is not None else None
        self._order = Order(self._applied)
        self._told = asyncio.Event()
        self._streams: set[_Stream] = set()
        self._dials: list[asyncio.Task[None]] = []
        self._drain_reason = ""
        self._finishing = False
        self._complaint = ""

    @property
    def attached(self) -> bool:
        return any(stream.heard for stream in self._streams)

    def link_used(self) -> None:
        """A one-time link was spent here: the operator hears of it now, or when it is back."""
        for stream in self._streams:
            stream.tell_links()

    def remeasured(self, keys: list[CameraKey]) -> None:
        """The bitrates of these cameras are others."""
        for key in keys:
            self._camera(key)

    def drain(self, reason: str) -> None:
        """Asks the operator, whenever it is there, to move the cameras elsewhere."""
        self._drain_reason = reason
        for stream in self._streams:
            stream.tell_drain()

    async def run(self) -> None:
        """Never returns; to be cancelled."""
        unlisten = self._facts.cameras.listen(self._camera)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._live_by_kept())
                async for credentials in self._credentials():
                    self._dials.append(tasks.create_task(self._dial(credentials)))
        finally:
            unlisten()

    async def finish(self) -> None:
        """Says what is left to say and closes the stream, so that the operator need not wonder; takes a second at
        most. `run` is to be cancelled afterwards."""
        self._finishing = True
        for stream in self._streams:
            stream.wake.set()
        speaking = [stream.ended.wait() for stream in self._streams if stream.heard]
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                await asyncio.gather(*speaking)
        except TimeoutError:
            log.debug("control.not_finished")

    async def _credentials(self) -> AsyncIterator[Credentials]:
        """Each that the relay gets, the first as soon as it has any."""
        seen: Credentials | None = None
        while True:
            seen = await self._enrolment.other_than(seen)
            yield seen

    async def _live_by_kept(self) -> None:
        if self._applied is None:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._told.wait()
        except TimeoutError:
            kept = self._applied
            log.warning("control.lives_by_kept", term=kept.term, cameras=len(kept.assignments))
            try:
                self._on_desired(kept)
            except ValueError as error:
                self._applied = None
                log.error("control.kept_refused", reason=str(error))

    async def _dial(self, credentials: Credentials) -> None:
        """Attaches with these credentials for as long as there are no others that work."""
        me = asyncio.current_task()
        wait = BACKOFF_FIRST
        while not self._finishing:
            # A channel each time: one that looked the operator's name up in vain asks again ever more rarely, after a
            # minute without an operator only each minute, and dials the addresses of its last pods till then.
            async with channel(self._target, credentials.authorities, credentials.pair) as opened:
                if await self._attach(ControlPlaneStub(opened).Attach()):
                    wait = BACKOFF_FIRST
            if self._dials[-1] is not me:
                return
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            wait = min(BACKOFF_LAST, wait * 2)

    def _end_older_dials(self) -> None:
        me = asyncio.current_task()
        if self._dials[-1] is me:
            for older in self._dials[:-1]:
                older.cancel()
            del self._dials[:-1]

    async def _attach(self, call: Call) -> bool:
        """One stream, from Hello to its end; whether a desired state came."""
        stream = _Stream([view.key for view in self._facts.cameras.views()], draining=bool(self._drain_reason))
        self._streams.add(stream)
        replaced = False
        writer = asyncio.create_task(self._write(call, stream))
        try:
            async for message in call:
                if not stream.heard:
                    stream.heard = True
                    log.info("control.attached", target=self._target)
                    self._end_older_dials()
                stream.acknowledge(self._apply(message))
            reason = "the operator ended the stream"
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            # By the newer one of ours, whose answer may not be here yet.
            replaced = error.code() is grpc.StatusCode.ABORTED and self._dials[-1] is not asyncio.current_task()
        finally:
            self._streams.discard(stream)
            stream.ended.set()
            writer.cancel()
            call.cancel()
            await asyncio.wait([writer])
        self._log_end(stream.heard, replaced, reason)
        return stream.heard

    def _log_end(self, heard: bool, replaced: bool, reason: str) -> None:
        newest = self._dials[-1] is asyncio.current_task()
        if self._finishing or replaced or (self.attached if heard else not newest):
            log.debug("control.closed", reason=reason)
        elif heard:
            log.warning("control.detached", reason=reason)
            self._complaint = reason
        elif reason != self._complaint:
            # Once for each reason, however often it is tried.
            log.warning("control.unreachable", target=self._target, reason=reason)
            self._complaint = reason

    def _apply(self, message: pb.Desired) -> pb.Ack:
        error = ""
        try:
            desired = read_desired(message)
            self._order.check(desired)
            self._on_desired(desired)
            self._order.hold(desired)
        except (StaleDesiredError, ValueError) as refusal:
            error = str(refusal)
            log.error("control.refused", term=message.term, version=message.version, reason=error)
        else:
            log.info("control.applied", term=message.term, version=message.version, cameras=len(message.assignments))
            self._applied = desired
            self._told.set()
            self._keep(message)
        return pb.Ack(term=message.term, version=message.version, error=error)

    def _keep(self, message: pb.Desired) -> None:
        if self._kept is None:
            return
        lasting = pb.Desired()
        lasting.CopyFrom(message)
        # A process started anew does not know which of them were used here.
        lasting.access.ClearField("links")
        self._kept.write(_KEPT, lasting.SerializeToString())

    async def _write(self, call: Call, stream: "_Stream") -> None:
        try:
            await call.write(pb.Report(hello=hello(self._identity, self._applied)))
            while True:
                await stream.wake.wait()
                stream.wake.clear()
                for report in stream.take(self._facts, self._drain_reason):
                    await call.write(report)
                if self._finishing and not stream.wake.is_set():
                    await call.done_writing()
                    return
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream broke; its reader has noticed too, and what was not sent is sent again on the next one.
            return

    def _camera(self, key: CameraKey) -> None:
        for stream in self._streams:
            stream.tell_camera(key)


class _Stream:
    """What waits to be sent on one Attach stream: at most one entry a camera, however slow the operator. It begins with
    every camera."""

    def __init__(self, cameras: list[CameraKey], *, draining: bool) -> None:
        # The operator has answered on it.
        self.heard = False
        self.wake = asyncio.Event()
        self.ended = asyncio.Event()
        self._acks: list[pb.Ack] = []
        self._cameras = dict.fromkeys(cameras)
        self._links = True
        self._drain = draining
        self._sent: dict[CameraKey, pb.CameraStatus] = {}
        self._links_sent: set[bytes] = set()
        self.wake.set()

    def acknowledge(self, ack: pb.Ack) -> None:
        self._acks.append(ack)
        self.wake.set()

    def tell_camera(self, key: CameraKey) -> None:
        self._cameras[key] = None
        self.wake.set()

    def tell_links(self) -> None:
        self._links = True
        self.wake.set()

    def tell_drain(self) -> None:
        self._drain = True
        self.wake.set()

    def take(self, facts: Facts, drain_reason: str) -> Iterator[pb.Report]:
        """All that waits, as it is when it is its turn to be sent."""
        if self._drain:
            self._drain = False
            yield pb.Report(drain=pb.Drain(reason=drain_reason))
        while self._acks:
            yield pb.Report(ack=self._acks.pop(0))
        cameras, self._cameras = self._cameras, {}
        for key in cameras:
            status = self._news(key, facts)
            if status is not None:
                yield pb.Report(camera=status)
        if self._links:
            self._links = False
            for digest in facts.rights.spent() - self._links_sent:
                self._links_sent.add(digest)
                yield pb.Report(link_used=pb.LinkUsed(code_sha256=digest))

    def _news(self, key: CameraKey, facts: Facts) -> pb.CameraStatus | None:
        view = facts.cameras.view(key)
        if view is None:
            self._sent.pop(key, None)
            return None
        status = camera_status(view, facts.bitrates[key])
        if self._sent.get(key) == status:
            return None
        self._sent[key] = status
        return status


def _read_kept(kept: Kept) -> Desired | None:
    data = kept.read(_KEPT)
    if data is None:
        return None
    try:
        return read_desired(pb.Desired.FromString(data))
    except (DecodeError, ValueError) as error:
        log.error("control.kept_unreadable", reason=str(error))
        return None


def hello(identity: Identity, applied: Desired | None) -> pb.Hello:
    capacity = identity.capacity
    holding = applied.assignments if applied is not None else ()
    return pb.Hello(
        relay_uid=identity.relay_uid,
        pool=identity.pool,
        version=identity.version,
        http_url=identity.http_url,
        media_addresses=_written(identity.media_addresses.udp),
        media_tcp_addresses=_written(identity.media_addresses.tcp),
        capacity=pb.Capacity(cameras=capacity.cameras, viewers=capacity.viewers, egress_mbps=capacity.egress_mbps),
        term=applied.term if applied is not None else 0,
        holding=[pb.CameraKey(namespace=camera.key.namespace, name=camera.key.name) for camera in holding],
    )


def camera_status(view: View, bitrate_kbps: int) -> pb.CameraStatus:
    status = pb.CameraStatus(
        namespace=view.key.namespace,
        name=view.key.name,
        state=_STATES[view.state],
        reason=PAUSED if view.state is State.PAUSED else view.reason or "",
        message=view.message or "",
        generation=view.generation,
    )
    status.since.FromNanoseconds(int(view.since * 1e9))
    video = view.video
    if video is not None and view.state is State.LIVE:
        status.video.CopyFrom(
            pb.Video(
                codec=video.codec,
                profile_level_id=video.profile_level_id,
                width=video.width,
                height=video.height,
                fps=video.fps or 0.0,
                bitrate_kbps=bitrate_kbps,
            )
        )
    return status


def read_desired(message: pb.Desired) -> Desired:
    """Raises ValueError, naming the camera or address, for a state that no relay could carry out."""
    assignments = tuple(_assignment(assignment) for assignment in message.assignments)
    keys = {assignment.key for assignment in assignments}
    if len(keys) != len(assignments):
        raise ValueError("a camera is assigned twice")
    access = message.access
    links = tuple(Link(x.code_sha256, x.token, x.not_after.ToNanoseconds() / 1e9) for x in access.links)
    keys_ = tuple((key.kid, key.pem) for key in access.keys)
    return Desired(
        term=message.term,
        version=message.version,
        assignments=assignments,
        access=Access(access.issuer, access.audience, keys_, links),
        media_addresses=MediaAddresses(
            udp=tuple(_media_address(text) for text in message.media_addresses),
            tcp=tuple(_media_address(text) for text in message.media_tcp_addresses),
        ),
    )


def _written(addresses: Iterable[tuple[str, int]]) -> list[str]:
    return [str(Address(*address)) for address in addresses]


def _media_address(text: str) -> tuple[str, int]:
    try:
        address = parse_address(text)
    except ValueError as error:
        raise ValueError(f"a media address is no IP address and port: {text!r} ({error})") from error
    if address.wildcard or address.port == 0:
        raise ValueError(f"nobody could send to the media address {text!r}")
    return address.host, address.port


def _assignment(message: pb.Assignment) -> Assignment:
    key = CameraKey(message.namespace, message.name)
    if not key.namespace or not key.name:
        raise ValueError("an assignment names no camera")
    return Assignment(
        key=key,
        source=_source(key, message.main),
        sub=_source(key, message.sub) if message.HasField("sub") else None,
        title=message.title,
        site=message.site,
        paused=message.paused,
        paused_reason=message.paused_reason,
        generation=message.generation,
    )


def _source(key: CameraKey, message: pb.Source) -> Source:
    # Said without the URL: what is wrong with it may be the user info in it.
    if not message.url.startswith("rtsp://") or "@" in message.url.removeprefix("rtsp://").partition("/")[0]:
        raise ValueError(f"camera {key}: its source is no rtsp:// URL without user info")
    return Source(
        url=message.url,
        transport=_TRANSPORTS.get(message.transport, "auto"),
        username=message.username,
        password=message.password,
    )
