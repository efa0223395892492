"""Serves Enrolment.Enrol: a relay that proves who it is gets the certificate that it attaches with.

Who it is, `verify` says: in a cluster `tokenreview.PodTokens`, on one machine `ProcessTokens`. This listener asks for
no certificate, so anybody may knock: strangers are refused, logged, and bounded in number.

    EnrolmentError
    ├── Unauthenticated  the token is not one of ours
    ├── NotPermitted     it is, and whom it names is no relay
    └── Unverifiable     nobody can say now; worth a retry
"""

import asyncio
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import grpc
import grpc.aio
import structlog
from pancar_proto.channel import server
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1 import control_pb2_grpc

from pancar_operator.authority import Enrolled, Issuer, requested_key

# Relays behind one address may start together; each comes back twice a day.
BURST: Final = 200
PER_SECOND: Final = 20.0
VERIFY_SECONDS: Final = 10.0
_AT_ONCE: Final = 16
_HOSTS: Final = 4096
_CSR_BYTES: Final = 4096
_TOKEN_CHARACTERS: Final = 16_384

_log = structlog.get_logger(__name__)


class EnrolmentError(Exception):
    """Why there is no certificate, for whoever runs the relay. Never holds the token."""

    code: ClassVar[grpc.StatusCode]


class Unauthenticated(EnrolmentError):  # noqa: N818 - named as gRPC names it
    code = grpc.StatusCode.UNAUTHENTICATED


class NotPermitted(EnrolmentError):  # noqa: N818 - as its gRPC status PERMISSION_DENIED
    code = grpc.StatusCode.PERMISSION_DENIED


class Unverifiable(EnrolmentError):  # noqa: N818 - it says what the token is
    code = grpc.StatusCode.UNAVAILABLE


Verify = Callable[[str], Awaitable[Enrolled]]


class Enrolment(control_pb2_grpc.EnrolmentServicer):
    """Certifies whom `verify` vouches for; that raises EnrolmentError for all others."""

    def __init__(self, issuer: Issuer, verify: Verify) -> None:
        self._issuer = issuer
        self._verify = verify
        self._knocks = _Knocks()
        self._verifying = asyncio.Semaphore(_AT_ONCE)

    def listen(self, target: str) -> tuple[grpc.aio.Server, int]:
        """A server of it at `target`, not yet started, and its port. Raises OSError, see `channel.server`."""
        listening, port = server(target, self._issuer.current, clients=False)
        control_pb2_grpc.add_EnrolmentServicer_to_server(self, listening)
        return listening, port

    async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolResponse:  # noqa: N802 - in control.proto
        host = _host(context.peer())
        if not self._knocks.admit(host, time.monotonic()):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many have asked from this address; ask later")
        try:
            return await self._enrol(request, host)
        except EnrolmentError as refusal:
            _log.warning("enrol.refused", peer=host, code=refusal.code.name, reason=str(refusal))
            await context.abort(refusal.code, str(refusal))
        except ValueError as error:
            _log.warning("enrol.refused", peer=host, code=grpc.StatusCode.INVALID_ARGUMENT.name, reason=str(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the certificate signing request: {error}")
        raise AssertionError("abort raises")

    async def _enrol(self, request: pb.EnrolRequest, host: str) -> pb.EnrolResponse:
        if len(request.csr) > _CSR_BYTES:
            raise ValueError(f"it is longer than {_CSR_BYTES} bytes")
        public = requested_key(request.csr)
        if not 0 < len(request.token) <= _TOKEN_CHARACTERS:
            raise Unauthenticated("a token is wanted")
        try:
            async with asyncio.timeout(VERIFY_SECONDS), self._verifying:
                enrolled = await self._verify(request.token)
        except TimeoutError:
            raise Unverifiable(f"the token could not be verified within {VERIFY_SECONDS:.0f} s") from None
        certificates = self._issuer.relay(public, enrolled)
        _log.info("enrol.certified", peer=host, relay=enrolled.uid, pool=str(enrolled.pool), name=enrolled.name)
        return pb.EnrolResponse(certificates=certificates, authorities=self._issuer.bundle)


class ProcessTokens:
    """One machine: a secret for each relay process, made by who starts it."""

    def __init__(self) -> None:
        self._issued: dict[bytes, Enrolled] = {}

    def issue(self, enrolled: Enrolled) -> str:
        token = secrets.token_urlsafe(32)
        self._issued[sha256(token.encode()).digest()] = enrolled
        return token

    def revoke(self, uid: str) -> None:
        """The process is gone."""
        self._issued = {digest: each for digest, each in self._issued.items() if each.uid != uid}

    async def verify(self, token: str) -> Enrolled:
        # By digest, so that the time this takes tells nothing of the token.
        enrolled = self._issued.get(sha256(token.encode()).digest())
        if enrolled is None:
            raise Unauthenticated("the token is of no relay that was started here")
        return enrolled


class _Knocks:
    """How often each address may ask: a bucket of BURST that PER_SECOND refills; those longest silent are forgotten."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, host: str, now: float) -> bool:
        left, at = self._left.pop(host, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * PER_SECOND)
        admitted = left >= 1
        self._left[host] = (left - admitted, now)
        if len(self._left) > _HOSTS:
            self._left.popitem(last=False)
        return admitted


def _host(peer: str) -> str:
    """The address alone of gRPC's "ipv4:192.0.2.1:5000" or "ipv6:%5B::1%5D:5000"; of a unix socket "unix"."""
    family, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return family
