"""The operator's core, and relays of the test's own that attach to it over real gRPC with TLS."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pancar_operator.authority import Authorities, Enrolled, Issuer
from pancar_operator.control import ControlPlane
from pancar_operator.manifests import parse
from pancar_operator.model import Key
from pancar_operator.observe import Known
from pancar_operator.reconcile import Reconciler, Transition
from pancar_operator.status import Phase
from pancar_proto.channel import Pair, channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneStub

TERM = 7
CAMERA = """\
---
apiVersion: pancar.dev/v1alpha1
kind: Camera
metadata: {{name: {name}}}
spec:
  title: {name} title
  source:
    main: {{url: "rtsp://192.0.2.1/{path}", transport: TCP}}
    credentialsRef: {{name: key}}
  location: {{site: harbour}}
"""
SECRET = """\
---
apiVersion: v1
kind: Secret
metadata: {name: key, labels: {pancar.dev/credentials: "true"}}
stringData: {username: viewer, password: hunter2}
"""


DEFAULT = Key("default", "default")


def requested() -> tuple[bytes, bytes]:
    """A new key (PEM) and the request to certify it (DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), request.public_bytes(Encoding.DER)


def certified(issuer: Issuer, uid: str, pool: Key = DEFAULT) -> Pair:
    """A relay's key, and what `issuer` says of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(issuer.relay(key.public_key(), Enrolled(uid, pool)), pem)


class Operator:
    """The operator's core on a unix socket, with a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.target = f"unix:{folder}/control.sock"
        self.now = 0.0
        self.time = datetime.now(UTC)
        self.issuer = Issuer(Authorities.new(self.time), lambda: self.time)
        self.known = Known(lambda: self.now)
        self.used: list[bytes] = []
        self.told: list[Transition] = []
        self.control = ControlPlane(self.known, term=TERM, link_used=self.used.append)
        self.reconciler = Reconciler(self.known, self.control, lambda told: self.told.extend(told.transitions))

    def declare(self, **cameras: str) -> None:
        text = SECRET + "".join(CAMERA.format(name=name, path=path) for name, path in cameras.items())
        self.known.declare(parse([("cameras.yaml", text)]))

    def phase(self, name: str) -> Phase:
        return self.reconciler.statuses[Key("default", name)].phase

    def certify(self, uid: str, pool: Key = DEFAULT) -> Pair:
        return certified(self.issuer, uid, pool)

    async def __aenter__(self) -> Self:
        self._server, _ = self.control.listen(self.target, self.issuer.current)
        await self._server.start()
        self._loop = asyncio.create_task(self.reconciler.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._loop.cancel()
        await self._server.stop(None)
        with contextlib.suppress(asyncio.CancelledError):
            await self._loop


class Relay:
    """One Attach stream: what the operator sent, and what it is told."""

    def __init__(
        self,
        operator: Operator,
        uid: str,
        *,
        pool: str = "default",
        holding: tuple[str, ...] = (),
        pair: Pair | None = None,
        opened: grpc.aio.Channel | None = None,
    ) -> None:
        """Certified as what it says it is, unless `pair` or an `opened` channel is given."""
        pair = pair or operator.certify(uid, Key("default", pool))
        self._channel = opened or channel(operator.target, operator.issuer.bundle, pair)
        self.call = ControlPlaneStub(self._channel).Attach()
        self.received: list[pb.Desired] = []
        self._hello = pb.Hello(
            relay_uid=uid,
            pool=pool,
            version="test",
            http_url="http://127.0.0.1:8080",
            media_addresses=["127.0.0.1:5000"],
            capacity=pb.Capacity(cameras=200, egress_mbps=1000),
            holding=[pb.CameraKey(namespace="default", name=name) for name in holding],
        )

    async def __aenter__(self) -> Self:
        await self.call.write(pb.Report(hello=self._hello))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.call.cancel()
        await self._channel.close()

    async def desired(self) -> pb.Desired:
        async with asyncio.timeout(30):
            message = await self.call.read()
        assert isinstance(message, pb.Desired), "the stream is over"
        self.received.append(message)
        return message

    async def until(self, names: set[str]) -> pb.Desired:
        """Reads and acknowledges until the state holds exactly these cameras."""
        while True:
            desired = await self.desired()
            await self.ack(desired)
            if {assignment.name for assignment in desired.assignments} == names:
                return desired

    async def ack(self, desired: pb.Desired, error: str = "") -> None:
        ack = pb.Ack(term=desired.term, version=desired.version, error=error)
        await self.call.write(pb.Report(ack=ack))

    async def report(
        self,
        name: str,
        state: "pb.CameraState.ValueType",
        reason: str = "",
        message: str = "",
        *,
        generation: int = 0,
        video: pb.Video | None = None,
    ) -> None:
        status = pb.CameraStatus(
            namespace="default",
            name=name,
            state=state,
            reason=reason,
            message=message,
            generation=generation,
            video=video,
        )
        await self.call.write(pb.Report(camera=status))

    async def ending(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ends, at the latest when nothing comes for seconds."""
        try:
            while True:
                await self.desired()
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """The same of a stream that may end while Hello is said."""
        try:
            async with self:
                return await self.ending()
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
