"""The control plane's connection: TLS on every address, each end certified, and a dead peer given up soon."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from pancar_operator.authority import Authorities, Issuer
from pancar_proto import channel
from pancar_proto.v1 import control_pb2_grpc
from rigs.attach import certified


def issuer() -> Issuer:
    return Issuer(Authorities.new(datetime.now(UTC)), lambda: datetime.now(UTC))


async def answer(opened: grpc.aio.Channel) -> tuple[grpc.StatusCode, str]:
    """How a server that implements nothing, or nobody, answers an Attach."""
    async with opened:
        try:
            # Nothing is written: a write that is under way when the answer comes would make INTERNAL of it.
            await control_pb2_grpc.ControlPlaneStub(opened).Attach().read()
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
    pytest.fail("nobody implements it")


@asynccontextmanager
async def serving(target: str, issuer: Issuer, *, clients: bool) -> AsyncIterator[str]:
    """Where it can be dialled."""
    listening, port = channel.server(target, issuer.current, clients=clients)
    await listening.start()
    try:
        yield target.replace(":0", f":{port}")
    finally:
        await listening.stop(None)


@pytest.mark.parametrize("clients", [True, False], ids=["with certificates", "without"])
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:{}/c.sock"])
async def test_both_ends_meet(listen: str, clients: bool, tmp_path: Path) -> None:
    authority = issuer()
    pair = certified(authority, "r1") if clients else None
    async with serving(listen.format(tmp_path), authority, clients=clients) as target:
        code, _ = await answer(channel.channel(target, authority.bundle, pair))
    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_who_must_show_a_certificate_and_has_none_is_not_heard() -> None:
    authority = issuer()
    async with serving("127.0.0.1:0", authority, clients=True) as target:
        code, _ = await answer(channel.channel(target, authority.bundle))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_an_operator_of_another_authority_is_not_spoken_to() -> None:
    async with serving("127.0.0.1:0", issuer(), clients=False) as target:
        code, told = await answer(channel.channel(target, issuer().bundle))
    assert (code, "CERTIFICATE_VERIFY_FAILED" in told) == (grpc.StatusCode.UNAVAILABLE, True)


async def test_a_relay_cannot_pass_for_the_operator() -> None:
    authority = issuer()
    pair = certified(authority, "r1")
    listening, port = channel.server("127.0.0.1:0", lambda: (pair, authority.bundle), clients=False)
    await listening.start()
    code, told = await answer(channel.channel(f"127.0.0.1:{port}", authority.bundle))
    await listening.stop(None)
    assert (code, "name" in told) == (grpc.StatusCode.UNAVAILABLE, True), told


async def test_who_answers_without_tls_is_not_spoken_to() -> None:
    listening = grpc.aio.server()
    port = listening.add_insecure_port("127.0.0.1:0")
    await listening.start()
    code, _ = await answer(channel.channel(f"127.0.0.1:{port}", issuer().bundle))
    await listening.stop(None)
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_who_accepts_and_says_nothing_is_given_up_soon() -> None:
    """gRPC's own limit is 20 s."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(10):
            code, _ = await answer(channel.channel(f"127.0.0.1:{silent.getsockname()[1]}", issuer().bundle))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_an_address_that_cannot_be_bound_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot listen"):
        channel.server(f"unix:{tmp_path}/missing/folder/c.sock", issuer().current, clients=True)


def test_a_pair_does_not_print_its_key() -> None:
    assert "PRIVATE" not in repr(certified(issuer(), "r1"))
