"""What a relay is told beside its cameras, and what it tells beside their state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pancar_operator.model import CameraObject, Key
from pancar_operator.observe import MediaAddresses
from pancar_operator.report import Video
from pancar_proto.v1 import control_pb2 as pb
from rigs.attach import Operator, Relay
from rigs.waiting import eventually

GATE = Key("default", "gate")


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    async with Operator(tmp_path) as running:
        running.declare(gate="a", harbour="b")
        yield running


def touch(operator: Operator, generation: int) -> None:
    """An edit of the manifest that means nothing, as spelling out a default."""
    operator.known.put_camera(operator.known.cameras[GATE], CameraObject("uid", generation), GATE)


async def test_a_generation_is_told_even_where_nothing_else_changed(operator: Operator) -> None:
    touch(operator, 3)
    async with Relay(operator, "r1") as relay:
        first = await relay.until({"gate", "harbour"})
        assert [each.generation for each in first.assignments] == [3, 0]
        touch(operator, 4)
        second = await relay.desired()
        assert [each.generation for each in second.assignments] == [4, 0]
        operator.known.put_camera(operator.known.cameras[GATE], CameraObject("uid", 4), GATE)
        operator.declare(gate="a", harbour="c")
        assert (await relay.desired()).version == second.version + 1, "nothing was sent in between"


async def test_a_relay_is_told_where_viewers_reach_it(operator: Operator) -> None:
    operator.known.put_addresses("r1", MediaAddresses(udp=("192.0.2.7:30801",), tcp=("192.0.2.7:30802",)))
    async with Relay(operator, "r1") as relay, Relay(operator, "r2") as other:
        told = await relay.desired()
        assert (list(told.media_addresses), list(told.media_tcp_addresses)) == (
            ["192.0.2.7:30801"],
            ["192.0.2.7:30802"],
        )
        assert not (await other.desired()).media_addresses
        operator.known.put_addresses("r1", MediaAddresses(udp=("192.0.2.7:30801", "[2001:db8::7]:30801")))
        told = await relay.desired()
        assert list(told.media_addresses) == ["192.0.2.7:30801", "[2001:db8::7]:30801"]
        assert not told.media_tcp_addresses
        operator.known.put_addresses("r1", MediaAddresses())
        assert not (await relay.desired()).media_addresses


async def test_a_report_says_of_which_generation_and_how_much(operator: Operator) -> None:
    async with Relay(operator, "r1") as relay:
        await relay.until({"gate", "harbour"})
        wire = pb.Video(codec="H264", profile_level_id="42e01f", width=640, height=360, bitrate_kbps=3200)
        await relay.report("gate", pb.CAMERA_STATE_LIVE, generation=5, video=wire)
        report = await eventually(lambda: operator.known.reports.get(GATE), "the report counts")
        assert report.generation == 5
        assert report.video == Video("H264", "42e01f", 640, 360)
        assert operator.known.snapshot({}).bitrates == {GATE: 4}


async def test_a_relay_that_asks_to_be_emptied_is(operator: Operator) -> None:
    async with Relay(operator, "r1") as one:
        await one.until({"gate", "harbour"})
        async with Relay(operator, "r2") as other:
            await other.desired()
            await one.call.write(pb.Report(drain=pb.Drain(reason="SIGTERM")))
            await one.until(set())
            await other.until({"gate", "harbour"})


async def test_what_it_can_carry_counts(operator: Operator) -> None:
    async with Relay(operator, "r1") as relay:
        await relay.desired()
        assert (operator.known.relays["r1"].relay.cameras, operator.known.relays["r1"].relay.egress_mbps) == (200, 1000)
