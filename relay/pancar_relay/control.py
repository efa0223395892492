"""The relay's end of ControlPlane.Attach, and the only module of the relay that knows protobuf.

`__main__` runs it beside everything else. It dials the operator for as long as the process lives; what it is told it
hands on as `Desired`, and with nobody there everything goes on as it was last told (media never waits for control).
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio
import structlog
from pancar_proto.channel import channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneStub

from pancar_relay.desired import Access, Assignment, CameraKey, Desired, Link, Source
from pancar_relay.errors import StaleDesiredError
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.ingest.pulls import State
from pancar_relay.viewer.rights import Rights

log = structlog.get_logger()

Call = grpc.aio.StreamStreamCall[pb.Report, pb.Desired]

# Seconds before dialling again: doubled from first to last, jittered, afresh after each state received.
BACKOFF_FIRST = 0.1
BACKOFF_LAST = 5.0

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
    media_addresses: tuple[str, ...]
    cameras: int
    viewers: int
    egress_mbps: int


class Order:
    """Which desired states are newer than the one held. Pure."""

    def __init__(self) -> None:
        self._held = (0, 0)

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
    """Attaches and reattaches. `on_desired` applies a state, or raises ValueError having changed nothing."""

    def __init__(
        self, target: str, identity: Identity, cameras: Cameras, rights: Rights, on_desired: Callable[[Desired], None]
    ) -> None:
        self._target = target
        self._identity = identity
        self._cameras = cameras
        self._rights = rights
        self._on_desired = on_desired
        self._order = Order()
        self._outbox = _Outbox()
        self.attached = False

    def link_used(self) -> None:
        """A one-time link was spent here: the operator hears of it now, or when it is back."""
        self._outbox.links = True
        self._outbox.wake.set()

    async def run(self) -> None:
        """Never returns; to be cancelled."""
        unlisten = self._cameras.listen(self._outbox.camera)
        wait = BACKOFF_FIRST
        try:
            async with channel(self._target) as opened:
                stub = ControlPlaneStub(opened)
                while True:
                    if await self._attach(stub.Attach()):
                        wait = BACKOFF_FIRST
                    await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                    wait = min(BACKOFF_LAST, wait * 2)
        finally:
            unlisten()

    async def _attach(self, call: Call) -> bool:
        """One stream, from Hello to its end; whether a desired state came."""
        self._outbox = self._outbox.fresh(self._cameras)
        writer = asyncio.create_task(self._write(call, self._outbox))
        heard = False
        try:
            async for message in call:
                if not heard:
                    log.info("control.attached", target=self._target)
                heard = self.attached = True
                self._outbox.acks.append(self._apply(message))
                self._outbox.wake.set()
            reason = "the operator ended the stream"
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
        finally:
            self.attached = False
            writer.cancel()
            call.cancel()
            await asyncio.wait([writer])
        if heard:
            log.warning("control.detached", reason=reason)
        else:
            log.debug("control.unreachable", reason=reason)
        return heard

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
        return pb.Ack(term=message.term, version=message.version, error=error)

    async def _write(self, call: Call, outbox: "_Outbox") -> None:
        sent: dict[CameraKey, pb.CameraStatus] = {}
        reported: set[bytes] = set()
        try:
            await call.write(pb.Report(hello=hello(self._identity)))
            while True:
                await outbox.wake.wait()
                outbox.wake.clear()
                while outbox.acks:
                    await call.write(pb.Report(ack=outbox.acks.pop(0)))
                for key in outbox.take_cameras():
                    view = self._cameras.view(key)
                    status = None if view is None else camera_status(view)
                    if status is None:
                        sent.pop(key, None)
                    elif sent.get(key) != status:
                        sent[key] = status
                        await call.write(pb.Report(camera=status))
                if outbox.links:
                    for digest in self._rights.spent() - reported:
                        reported.add(digest)
                        await call.write(pb.Report(link_used=pb.LinkUsed(code_sha256=digest)))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream broke; its reader has noticed too, and what was not sent is sent again on the next one.
            return


class _Outbox:
    """What waits to be sent on the stream of the moment: at most one entry a camera, however slow the operator."""

    def __init__(self) -> None:
        self.acks: list[pb.Ack] = []
        self.links = True
        self.wake = asyncio.Event()
        self._cameras: dict[CameraKey, None] = {}

    def fresh(self, cameras: Cameras) -> "_Outbox":
        """For a new stream: every camera anew, no acknowledgement of the old one."""
        self.acks.clear()
        self.links = True
        self._cameras = dict.fromkeys(view.key for view in cameras.views())
        self.wake.set()
        return self

    def camera(self, key: CameraKey) -> None:
        self._cameras[key] = None
        self.wake.set()

    def take_cameras(self) -> list[CameraKey]:
        taken, self._cameras = list(self._cameras), {}
        return taken


def hello(identity: Identity) -> pb.Hello:
    return pb.Hello(
        relay_uid=identity.relay_uid,
        pool=identity.pool,
        version=identity.version,
        http_url=identity.http_url,
        media_addresses=identity.media_addresses,
        capacity=pb.Capacity(cameras=identity.cameras, viewers=identity.viewers, egress_mbps=identity.egress_mbps),
    )


def camera_status(view: View) -> pb.CameraStatus:
    status = pb.CameraStatus(
        namespace=view.key.namespace,
        name=view.key.name,
        state=_STATES[view.state],
        reason=PAUSED if view.state is State.PAUSED else view.reason or "",
        message=view.message or "",
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
            )
        )
    return status


def read_desired(message: pb.Desired) -> Desired:
    """Raises ValueError, naming the camera, for a state that no relay could carry out."""
    assignments = tuple(_assignment(assignment) for assignment in message.assignments)
    keys = {assignment.key for assignment in assignments}
    if len(keys) != len(assignments):
        raise ValueError("a camera is assigned twice")
    access = message.access
    links = tuple(Link(x.code_sha256, x.token, x.not_after.ToNanoseconds() / 1e9) for x in access.links)
    keys_ = tuple((key.kid, key.pem) for key in access.keys)
    return Desired(message.term, message.version, assignments, Access(access.issuer, access.audience, keys_, links))


def _assignment(message: pb.Assignment) -> Assignment:
    key = CameraKey(message.namespace, message.name)
    if not key.namespace or not key.name:
        raise ValueError("an assignment names no camera")
    source = message.main
    # Said without the URL: what is wrong with it may be the user info in it.
    if not source.url.startswith("rtsp://") or "@" in source.url.removeprefix("rtsp://").partition("/")[0]:
        raise ValueError(f"camera {key}: its source is no rtsp:// URL without user info")
    return Assignment(
        key=key,
        source=Source(
            url=source.url,
            transport="udp" if source.transport == pb.TRANSPORT_UDP else "tcp",
            username=source.username,
            password=source.password,
        ),
        title=message.title,
        site=message.site,
        paused=message.paused,
        paused_reason=message.paused_reason,
    )
