"""Simulated relays: they enrol and attach as real ones do, acknowledge every state, and say that every camera is live.

No picture is pulled. Each has a pod of the pool (see `node`), and proves by its pod's own token who it is.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pancar_proto.channel import Pair, channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneStub, EnrolmentStub

Key = tuple[str, str]

BACKOFF: Final = 1.0
VIDEO: Final = pb.Video(codec="H264", profile_level_id="42e01f", width=1280, height=720, fps=25.0, bitrate_kbps=1900)


@dataclass(frozen=True, slots=True)
class Operator:
    """How relays reach it."""

    control: str
    enrol: str
    authorities: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A camera that a relay was told to pull, or told anew."""

    at: float
    """time.monotonic()."""
    relay: str
    camera: Key
    title: str


@dataclass(slots=True)
class Orders:
    """All that the relays were told, in the order in which it came."""

    log: list[Order] = field(default_factory=list)
    # When each relay had last acknowledged a state, by its uid, and of which term.
    acknowledged: dict[str, tuple[float, int]] = field(default_factory=dict)


class Relay:
    """One of them; `run` is its life."""

    def __init__(self, uid: str, name: str, pool: str, capacity: int, orders: Orders) -> None:
        self.uid, self.name = uid, name
        self._pool, self._capacity, self._orders = pool, capacity, orders
        self.cameras: dict[Key, pb.Assignment] = {}
        self._state = pb.CAMERA_STATE_LIVE
        self._term = 0
        self._reports: asyncio.Queue[pb.Report] = asyncio.Queue()

    async def run(self, operator: Operator, token: Callable[[], Any]) -> None:
        """Attaches, again and again; to be cancelled, which is its death."""
        pair, authorities = await self._enrol(operator, await token())
        async with channel(operator.control, authorities, pair) as opened:
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await self._attach(ControlPlaneStub(opened).Attach())
                await asyncio.sleep(BACKOFF * random.uniform(0.2, 1.0))  # noqa: S311 - jitter

    def darken(self, count: int) -> int:
        """So many of its cameras go dark, all if there are fewer; returns how many did."""
        self._state = pb.CAMERA_STATE_OFFLINE
        keys = list(self.cameras)[:count]
        for key in keys:
            self._report(key)
        self._state = pb.CAMERA_STATE_LIVE
        return len(keys)

    async def _enrol(self, operator: Operator, token: str) -> tuple[Pair, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        csr = request.public_bytes(serialization.Encoding.DER)
        async with channel(operator.enrol, operator.authorities) as opened:
            while True:
                try:
                    answer = await EnrolmentStub(opened).Enrol(pb.EnrolRequest(csr=csr, token=token), timeout=20)
                    return Pair(answer.certificates, private), answer.authorities
                except grpc.aio.AioRpcError as error:
                    # Refused until the operator has seen the pod, and beyond what it answers at once.
                    retry = (
                        grpc.StatusCode.UNAVAILABLE,
                        grpc.StatusCode.DEADLINE_EXCEEDED,
                        grpc.StatusCode.RESOURCE_EXHAUSTED,
                        grpc.StatusCode.PERMISSION_DENIED,
                    )
                    if error.code() not in retry:
                        raise
                await asyncio.sleep(BACKOFF * random.uniform(0.2, 1.0))  # noqa: S311 - jitter

    async def _attach(self, call: "grpc.aio.StreamStreamCall[pb.Report, pb.Desired]") -> None:
        self._reports = asyncio.Queue()
        holding = [pb.CameraKey(namespace=namespace, name=name) for namespace, name in self.cameras]
        hello = pb.Hello(
            relay_uid=self.uid,
            pool=self._pool,
            version="simulated",
            http_url="https://192.0.2.1:8443",
            media_addresses=["192.0.2.1:8801"],
            capacity=pb.Capacity(cameras=self._capacity, viewers=1000, egress_mbps=4000),
            term=self._term,
            holding=holding,
        )
        await call.write(pb.Report(hello=hello))
        for key in self.cameras:
            self._report(key)
        writing = asyncio.create_task(self._write(call))
        try:
            async for desired in call:
                self._apply(desired)
        finally:
            writing.cancel()
            call.cancel()

    async def _write(self, call: "grpc.aio.StreamStreamCall[pb.Report, pb.Desired]") -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await call.write(await self._reports.get())

    def _apply(self, desired: pb.Desired) -> None:
        now = time.monotonic()
        self._term = desired.term
        before = self.cameras
        self.cameras = {(each.namespace, each.name): each for each in desired.assignments}
        self._reports.put_nowait(pb.Report(ack=pb.Ack(term=desired.term, version=desired.version)))
        self._orders.acknowledged[self.uid] = (now, desired.term)
        for key, assignment in self.cameras.items():
            if before.get(key) != assignment:
                self._orders.log.append(Order(now, self.uid, key, assignment.title))
                self._report(key)

    def _report(self, key: Key) -> None:
        dark = self._state == pb.CAMERA_STATE_OFFLINE
        status = pb.CameraStatus(
            namespace=key[0],
            name=key[1],
            state=self._state,
            reason="Unreachable" if dark else "",
            message="Nothing answers at the camera's address; its provider mends that." if dark else "",
            video=None if dark else VIDEO,
            generation=self.cameras[key].generation,
        )
        status.since.GetCurrentTime()
        self._reports.put_nowait(pb.Report(camera=status))
