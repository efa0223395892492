"""Certificates and authorities change while everything runs: no stream breaks for it, nobody restarts."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from pancar_operator.authority import (
    AUTHORITY_LIFE,
    AUTHORITY_OVERLAP,
    CERTIFICATE_LIFE,
    PUBLISHED_BEFORE,
    Authorities,
)
from pancar_operator.status import Phase
from pancar_proto.channel import SERVER_NAME, channel
from pancar_proto.v1 import control_pb2 as pb
from rigs.attach import Operator, Relay
from rigs.waiting import eventually


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    async with Operator(tmp_path) as running:
        running.declare(gate="a")
        yield running


def shown(operator: Operator) -> bytes:
    """The certificate that a new connection sees."""
    context = ssl.create_default_context(cadata=operator.issuer.bundle.decode())
    context.set_alpn_protocols(["h2"])
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(operator.target.removeprefix("unix:"))
        with context.wrap_socket(plain, server_hostname=SERVER_NAME) as opened:
            certificate = opened.getpeercert(binary_form=True)
            assert certificate is not None
            return certificate


async def test_the_operators_certificate_is_renewed(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    now = operator.time
    operator.time = now - CERTIFICATE_LIFE * 2 / 3
    operator.declare(gate="a")
    async with operator, Relay(operator, "r1") as relay:
        await relay.until({"gate"})
        first = await asyncio.to_thread(shown, operator)
        assert await asyncio.to_thread(shown, operator) == first
        operator.time = now
        assert await asyncio.to_thread(shown, operator) != first
        operator.declare(gate="b")
        assert (await relay.desired()).assignments[0].main.url.endswith("/b"), "the stream goes on"


async def test_a_relay_comes_with_its_next_certificate(operator: Operator) -> None:
    """Over another connection, before it lets go of the first: nothing is said to have changed."""
    async with Relay(operator, "r1") as first:
        sent = await first.until({"gate"})
        await first.report("gate", pb.CAMERA_STATE_LIVE)
        await eventually(lambda: operator.phase("gate") is Phase.LIVE, "it is live")
        told = len(operator.told)
        async with Relay(operator, "r1", holding=("gate",)) as second:
            assert (await second.until({"gate"})).version > sent.version
            assert (await first.ending())[0] is grpc.StatusCode.ABORTED
            await second.report("gate", pb.CAMERA_STATE_LIVE)
            operator.declare(gate="a", harbour="b")
            await second.until({"gate", "harbour"})
            assert [str(change.camera) for change in operator.told[told:]] == ["default/harbour"]


async def test_an_authority_is_followed_by_the_next(operator: Operator) -> None:
    """By times long past, so that what is issued now holds now: the new authority is published, then it signs."""
    old = Authorities.new(operator.time - AUTHORITY_LIFE + AUTHORITY_OVERLAP / 2)
    both = old.renewed(operator.time - PUBLISHED_BEFORE)
    assert len(both.members) == 2
    operator.issuer.take(old)
    earlier = operator.certify("earlier")
    async with Relay(operator, "earlier", pair=earlier) as relay:
        await relay.until({"gate"})
        operator.issuer.take(both)
        operator.declare(gate="b")
        await relay.desired()
        async with Relay(operator, "later") as other:
            await other.desired()
            knows_one = channel(operator.target, old.bundle, earlier)
            code, told = await Relay(operator, "earlier", opened=knows_one).refusal()
            assert (code, "CERTIFICATE_VERIFY_FAILED" in told) == (grpc.StatusCode.UNAVAILABLE, True)
            knows_both = channel(operator.target, both.bundle, earlier)
            async with Relay(operator, "earlier", opened=knows_both) as again:
                await again.desired()


async def test_an_authority_that_was_replaced_is_believed_no_more(operator: Operator) -> None:
    pair = operator.certify("r1")
    operator.issuer.take(Authorities.new(operator.time + timedelta(seconds=1)))
    assert (await Relay(operator, "r1", pair=pair).refusal())[0] is grpc.StatusCode.UNAVAILABLE
    assert not operator.known.relays
    async with Relay(operator, "r1") as certified_anew:
        await certified_anew.until({"gate"})
