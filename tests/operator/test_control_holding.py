"""What a relay brings along when it attaches: to a new leader, it pulls cameras that no state of his gave it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pancar_operator.manifests import parse
from pancar_operator.model import Key
from pancar_operator.status import Phase
from pancar_proto.v1 import control_pb2 as pb
from rigs.attach import CAMERA, SECRET, Operator, Relay
from rigs.waiting import eventually

GATE = Key("default", "gate")


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    async with Operator(tmp_path) as running:
        yield running


async def test_a_camera_is_given_to_another_relay_only_when_who_holds_it_has_let_go(operator: Operator) -> None:
    police = "---\napiVersion: pancar.dev/v1alpha1\nkind: RelayPool\nmetadata: {name: police}\n"
    default = "---\napiVersion: pancar.dev/v1alpha1\nkind: RelayPool\nmetadata: {name: default}\n"
    text = SECRET + default + police + CAMERA.format(name="gate", path="a")
    operator.known.declare(parse([("cameras.yaml", text)]))
    async with Relay(operator, "r1", pool="police", holding=("gate",)) as holder:
        released = await holder.desired()
        assert not released.assignments
        assert operator.known.claims() == {GATE: "r1"}
        async with Relay(operator, "r2") as other:
            await other.until(set())
            waiting = asyncio.create_task(other.desired())
            done, _ = await asyncio.wait([waiting], timeout=0.5)
            assert not done, "the camera would be pulled twice"
            await holder.ack(released)
            assert [each.name for each in (await waiting).assignments] == ["gate"]
        assert operator.known.claims() == {}


async def test_what_it_says_of_them_counts_from_the_beginning(operator: Operator) -> None:
    async with Relay(operator, "r1", holding=("gate",)) as relay:
        await relay.report("harbour", pb.CAMERA_STATE_LIVE)
        await relay.report("gate", pb.CAMERA_STATE_LIVE)
        await eventually(lambda: GATE in operator.known.reports, "the report counts")
        operator.declare(gate="a", harbour="b")
        await relay.until({"gate", "harbour"})
        await eventually(lambda: operator.phase("gate") is Phase.LIVE, "it is live")
        assert operator.phase("harbour") is Phase.WAITING
