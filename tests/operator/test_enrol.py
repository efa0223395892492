"""Enrolment over real gRPC: who proves what it is gets a certificate, nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pancar_operator.authority import Authorities, Enrolled, Issuer, peer
from pancar_operator.enrol import BURST, Enrolment, NotPermitted, ProcessTokens, Unverifiable, Verify
from pancar_operator.model import Key
from pancar_proto.channel import channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import EnrolmentStub

if TYPE_CHECKING:
    from pancar_proto.v1.control_pb2_grpc import EnrolmentAsyncStub

HARBOUR = Enrolled("r1", Key("video", "harbour"), "harbour-0", ("10.1.2.3",))
KEY = ec.generate_private_key(ec.SECP256R1())
CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([]))
    .sign(KEY, hashes.SHA256())
    .public_bytes(Encoding.DER)
)


def issuer() -> Issuer:
    return Issuer(Authorities.new(datetime.now(UTC)), lambda: datetime.now(UTC))


@asynccontextmanager
async def enrolling(target: str, verify: Verify, issuer: Issuer) -> AsyncIterator["EnrolmentAsyncStub"]:
    """A relay's way to an operator that enrols."""
    listening, port = Enrolment(issuer, verify).listen(target)
    await listening.start()
    try:
        async with channel(target.replace(":0", f":{port}"), issuer.bundle) as opened:
            yield EnrolmentStub(opened)
    finally:
        await listening.stop(None)


async def refused(stub: "EnrolmentAsyncStub", csr: bytes, token: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Enrol(pb.EnrolRequest(csr=csr, token=token))
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "unix:{}/e.sock"])
async def test_a_relay_gets_a_certificate_of_its_own_key_and_name(listen: str, tmp_path: Path) -> None:
    tokens, authority = ProcessTokens(), issuer()
    token = tokens.issue(HARBOUR)
    async with enrolling(listen.format(tmp_path), tokens.verify, authority) as stub:
        answer = await stub.Enrol(pb.EnrolRequest(csr=CSR, token=token))
    pool, uid, _ = peer(answer.certificates)
    assert (pool, uid) == (HARBOUR.pool, HARBOUR.uid)
    assert x509.load_pem_x509_certificate(answer.certificates).public_key() == KEY.public_key()
    assert answer.authorities == authority.bundle


async def test_a_stranger_gets_none_and_is_logged_without_his_token() -> None:
    tokens = ProcessTokens()
    ended = tokens.issue(HARBOUR)
    tokens.revoke(HARBOUR.uid)
    async with enrolling("127.0.0.1:0", tokens.verify, issuer()) as stub:
        with structlog.testing.capture_logs() as logs:
            for token in ("", "guessed", ended, "x" * 20_000):
                assert (await refused(stub, CSR, token))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert [entry["event"] for entry in logs] == ["enrol.refused"] * 4
        assert {entry["peer"] for entry in logs} == {"127.0.0.1"}
        assert "guessed" not in str(logs)
        assert ended not in str(logs)


async def test_who_is_known_and_no_relay_is_told_so() -> None:
    async def verify(_: str) -> Enrolled:
        raise NotPermitted("pod a/b is of no RelayPool of its namespace")

    async with enrolling("127.0.0.1:0", verify, issuer()) as stub:
        told = await refused(stub, CSR, "token")
    assert told == (grpc.StatusCode.PERMISSION_DENIED, "pod a/b is of no RelayPool of its namespace")


async def test_where_nobody_can_say_the_relay_may_ask_again() -> None:
    answers: list[Enrolled] = []

    async def verify(_: str) -> Enrolled:
        if not answers:
            raise Unverifiable("the API server did not answer")
        return answers[0]

    async with enrolling("127.0.0.1:0", verify, issuer()) as stub:
        assert (await refused(stub, CSR, "token"))[0] is grpc.StatusCode.UNAVAILABLE
        answers.append(HARBOUR)
        assert (await stub.Enrol(pb.EnrolRequest(csr=CSR, token="token"))).certificates


@pytest.mark.parametrize("csr", [b"", b"nonsense", CSR[:-1], b"x" * 100_000])
async def test_a_wrong_request_is_refused_before_anybody_is_asked(csr: bytes) -> None:
    asked = []

    async def verify(token: str) -> Enrolled:
        asked.append(token)
        return HARBOUR

    async with enrolling("127.0.0.1:0", verify, issuer()) as stub:
        assert (await refused(stub, csr, "token"))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert not asked


async def test_too_many_requests_from_one_address_are_put_off() -> None:
    asked = []

    async def verify(token: str) -> Enrolled:
        asked.append(token)
        raise NotPermitted("no")

    async with enrolling("127.0.0.1:0", verify, issuer()) as stub:
        codes = [code for code, _ in await asyncio.gather(*(refused(stub, CSR, "token") for _ in range(2 * BURST)))]
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 2 * BURST - len(asked)
    assert BURST <= len(asked) < 2 * BURST


async def test_an_operator_of_another_authority_is_told_nothing() -> None:
    asked = []

    async def verify(token: str) -> Enrolled:
        asked.append(token)
        return HARBOUR

    listening, port = Enrolment(issuer(), verify).listen("127.0.0.1:0")
    await listening.start()
    async with channel(f"127.0.0.1:{port}", issuer().bundle) as opened:
        code, details = await refused(EnrolmentStub(opened), CSR, "token")
    await listening.stop(None)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in details
    assert not asked
