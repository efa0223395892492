"""Who is not the relay that its certificate names, or shows none that holds, is told nothing."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import structlog
from pancar_operator.authority import CERTIFICATE_LIFE, Authorities, Issuer
from pancar_operator.model import Key
from pancar_proto.channel import Pair, channel
from rigs.attach import Operator, Relay, certified
from rigs.waiting import eventually


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    async with Operator(tmp_path) as running:
        running.declare(gate="a")
        yield running


async def refused(operator: Operator, relay: Relay) -> tuple[grpc.StatusCode, str]:
    """How the stranger is refused: without having been told anything, or being known afterwards."""
    ending = await relay.refusal()
    assert relay.received == []
    assert not operator.known.relays
    return ending


async def test_without_a_certificate(operator: Operator) -> None:
    opened = channel(operator.target, operator.issuer.bundle)
    code, _ = await refused(operator, Relay(operator, "r1", opened=opened))
    assert code is grpc.StatusCode.UNAVAILABLE, "the handshake fails already"


async def test_without_tls(operator: Operator) -> None:
    code, _ = await refused(operator, Relay(operator, "r1", opened=grpc.aio.insecure_channel(operator.target)))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_with_a_certificate_of_another_authority(operator: Operator) -> None:
    theirs = Issuer(Authorities.new(operator.time), lambda: operator.time)
    code, _ = await refused(operator, Relay(operator, "r1", pair=certified(theirs, "r1")))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_with_a_certificate_that_has_run_out(operator: Operator) -> None:
    yesterday = Issuer(operator.issuer.authorities, lambda: operator.time - CERTIFICATE_LIFE)
    code, _ = await refused(operator, Relay(operator, "r1", pair=certified(yesterday, "r1")))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_with_the_operators_own_kind_of_certificate(operator: Operator) -> None:
    pair, _ = operator.issuer.current()
    code, _ = await refused(operator, Relay(operator, "r1", pair=pair))
    assert code is grpc.StatusCode.UNAVAILABLE, "it is a server's"


@pytest.mark.parametrize(
    ("uid", "pool"), [("r2", "default"), ("r1", "police")], ids=["another relay's uid", "another pool"]
)
async def test_with_the_certificate_of_another(operator: Operator, uid: str, pool: str) -> None:
    stolen = operator.certify(uid, Key("default", pool))
    with structlog.testing.capture_logs() as logs:
        code, told = await refused(operator, Relay(operator, "r1", pair=stolen))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert told == f"the certificate is of relay {uid} in pool default/{pool}, not of r1 in default/default"
    assert [entry["reason"] for entry in logs if entry["event"] == "relay.refused"] == [told]


async def test_a_stranger_who_comes_as_a_relay_that_is_there_does_not_disturb_it(operator: Operator) -> None:
    async with Relay(operator, "r1") as relay:
        await relay.until({"gate"})
        stranger = Relay(operator, "r1", pair=operator.certify("r2"))
        assert (await stranger.refusal())[0] is grpc.StatusCode.PERMISSION_DENIED
        operator.declare(gate="b")
        assert (await relay.desired()).assignments[0].main.url == "rtsp://192.0.2.1/b"
        assert operator.known.relays["r1"].detached_at is None


async def test_a_stream_ends_with_its_certificate(operator: Operator) -> None:
    """A relay that could not renew it in time, as one whose pod is gone for the API server."""
    ending = Issuer(operator.issuer.authorities, lambda: datetime.now(UTC) - CERTIFICATE_LIFE + timedelta(seconds=10))
    pair: Pair = certified(ending, "r1")
    async with Relay(operator, "r1", pair=pair) as relay:
        await relay.until({"gate"})
        assert await relay.ending() == (grpc.StatusCode.UNAUTHENTICATED, "the relay's certificate has run out")
    await eventually(lambda: operator.known.relays["r1"].detached_at is not None, "it counts as detached")
    # By the handshake, which looks at whole seconds, or after it; gRPC has two names for one that fails late.
    refused = (await Relay(operator, "r1", pair=pair).refusal())[0]
    assert refused in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAUTHENTICATED)
    assert operator.known.relays["r1"].detached_at is not None
