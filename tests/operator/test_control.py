"""ControlPlane.Attach over a real gRPC connection, driven by relays of the test's own: who is told what."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from pancar_operator.access import Access, PendingLink, PublicKey
from pancar_operator.manifests import parse
from pancar_operator.model import Camera, CameraSpec, Key, Manifests, Metadata, Source, Stream
from pancar_operator.observe import DETACHED_GRACE
from pancar_operator.status import Phase
from pancar_proto.channel import channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneStub
from rigs.attach import CAMERA, SECRET, TERM, Operator, Relay
from rigs.waiting import eventually


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    async with Operator(tmp_path) as running:
        yield running


def wide(prefix: str) -> Manifests:
    """200 cameras that make a state of 400 kB."""
    source = Source(main=Stream(url=f"rtsp://192.0.2.1/{'x' * 2000}"))
    spec = CameraSpec(source=source)
    cameras = [Camera(metadata=Metadata(name=f"{prefix}-{index}"), spec=spec) for index in range(200)]
    return Manifests(cameras={camera.key: camera for camera in cameras})


async def test_a_relay_is_sent_all_it_has_to_know(operator: Operator) -> None:
    operator.declare(gate="a")
    operator.known.admit(Access((PublicKey("kid", "pem"),), (PendingLink(b"digest", "token", 1234),)))
    async with Relay(operator, "r1") as relay:
        desired = await relay.until({"gate"})
        assert desired.term == TERM
        (assignment,) = desired.assignments
        assert (assignment.namespace, assignment.title, assignment.site) == ("default", "gate title", "harbour")
        assert assignment.main == pb.Source(
            url="rtsp://192.0.2.1/a", transport=pb.TRANSPORT_TCP, username="viewer", password="hunter2"
        )
        assert [(key.kid, key.pem) for key in desired.access.keys] == [("kid", "pem")]
        assert (desired.access.issuer, desired.access.audience) == ("pancar", "pancar")
        (link,) = desired.access.links
        assert (link.code_sha256, link.token, link.not_after.seconds) == (b"digest", "token", 1234)


@pytest.mark.parametrize(("sessions", "told"), [(None, True), (2, True), (1, False)])
async def test_a_sub_is_told_where_the_camera_has_a_session_for_it(
    operator: Operator, sessions: int | None, told: bool
) -> None:
    main, sub = Stream(url="rtsp://192.0.2.1/main"), Stream(url="rtsp://192.0.2.1/sub")
    spec = CameraSpec(source=Source(main=main, sub=sub, max_sessions=sessions))
    gate = Camera(metadata=Metadata(name="gate"), spec=spec)
    operator.known.declare(Manifests(cameras={gate.key: gate}))
    async with Relay(operator, "r1") as relay:
        (assignment,) = (await relay.until({"gate"})).assignments
        assert assignment.main.url == "rtsp://192.0.2.1/main"
        assert assignment.HasField("sub") is told
        assert assignment.sub.url == ("rtsp://192.0.2.1/sub" if told else "")


async def test_an_edit_changes_the_edited_camera_alone(operator: Operator) -> None:
    operator.declare(gate="a", harbour="b")
    async with Relay(operator, "r1") as relay:
        before = await relay.until({"gate", "harbour"})
        operator.declare(gate="a", harbour="c", square="d")
        after = await relay.until({"gate", "harbour", "square"})
        assert after.version > before.version
        assert after.assignments[0] == before.assignments[0]
        assert after.assignments[1].main.url == "rtsp://192.0.2.1/c"
        operator.declare(gate="a")
        assert (await relay.until({"gate"})).assignments[0] == before.assignments[0]


async def test_what_did_not_change_is_not_sent_again(operator: Operator) -> None:
    operator.declare(gate="a")
    async with Relay(operator, "r1") as relay:
        first = await relay.until({"gate"})
        operator.declare(gate="a")
        await asyncio.sleep(0.3)
        operator.declare(gate="b")
        assert (await relay.desired()).version == first.version + 1


async def test_reports_become_conditions(operator: Operator) -> None:
    operator.declare(gate="a", harbour="b")
    async with Relay(operator, "r1") as relay:
        await relay.until({"gate", "harbour"})
        await relay.report("gate", pb.CAMERA_STATE_LIVE)
        await relay.report("harbour", pb.CAMERA_STATE_OFFLINE, "Unauthorized", "rtsp://u:hunter2@h/ wants a password.")
        await relay.report("stranger", pb.CAMERA_STATE_LIVE)
        await eventually(lambda: operator.phase("gate") is Phase.LIVE, "the report counts")
        await eventually(lambda: operator.phase("harbour") is Phase.OFFLINE, "the fault counts")
        ready = operator.reconciler.statuses[Key("default", "harbour")].ready
        assert ready.reason == "Unauthorized"
        assert ready.message == "rtsp://***@h/ wants a password."
        assert Key("default", "stranger") not in operator.reconciler.statuses
    await eventually(lambda: operator.phase("gate") is Phase.WAITING, "what it said counts no more")


async def test_a_used_link_is_told(operator: Operator) -> None:
    async with Relay(operator, "r1") as relay:
        await relay.call.write(pb.Report(link_used=pb.LinkUsed(code_sha256=b"digest")))
        await eventually(lambda: operator.used == [b"digest"], "the link is used")


async def test_the_same_relay_attaching_again_replaces_its_first_stream(operator: Operator) -> None:
    operator.declare(gate="a")
    async with Relay(operator, "r1") as first:
        sent = await first.until({"gate"})
        async with Relay(operator, "r1") as second:
            again = await second.until({"gate"})
            assert again.version > sent.version
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await first.desired()
            assert ended.value.code() is grpc.StatusCode.ABORTED
            assert list(operator.known.relays) == ["r1"]
            assert operator.known.relays["r1"].detached_at is None


async def test_a_relay_that_comes_back_in_time_keeps_its_cameras(operator: Operator) -> None:
    async with Relay(operator, "r1"), Relay(operator, "r2"):
        await eventually(lambda: len(operator.known.relays) == 2, "both have attached")
        # Not before: they would be evened out when the second one comes.
        operator.declare(gate="a", harbour="b", square="c")
        await eventually(lambda: len(operator.reconciler.plan.assignments) == 3, "all are placed")
        held = {uid: {key.name for key in each.desired} for uid, each in operator.control.holdings().items()}
    detached = lambda: all(relay.detached_at is not None for relay in operator.known.relays.values())  # noqa: E731
    await eventually(detached, "both have detached")
    operator.now = DETACHED_GRACE - 1
    async with Relay(operator, "r1") as one, Relay(operator, "r2") as other:
        assert {each.name for each in (await one.desired()).assignments} == held["r1"]
        assert {each.name for each in (await other.desired()).assignments} == held["r2"]


async def test_a_lost_relays_cameras_go_elsewhere_when_its_time_is_over(operator: Operator) -> None:
    operator.declare(gate="a", harbour="b", square="c", market="d")
    async with Relay(operator, "stays") as stays:
        async with Relay(operator, "goes") as goes:
            await eventually(lambda: len(operator.known.relays) == 2, "both have attached")
            assert len((await stays.desired()).assignments) + len((await goes.desired()).assignments) == 4
        await eventually(lambda: operator.known.relays["goes"].detached_at is not None, "it has detached")
        operator.now = DETACHED_GRACE
        operator.known.changed.set()
        await stays.until({"gate", "harbour", "square", "market"})


async def test_a_camera_goes_to_its_next_relay_only_after_the_first_let_go(operator: Operator) -> None:
    pools = "".join(
        f"---\napiVersion: pancar.dev/v1alpha1\nkind: RelayPool\nmetadata: {{name: {name}}}\n"
        for name in ("default", "b")
    )

    def declare(pool: str) -> None:
        text = SECRET + pools + CAMERA.format(name="gate", path="a") + f"  poolRef: {{name: {pool}}}\n"
        operator.known.declare(parse([("cameras.yaml", text)]))

    declare("default")
    async with Relay(operator, "r1") as first, Relay(operator, "r2", pool="b") as second:
        await first.until({"gate"})
        await second.until(set())
        declare("b")
        released = await first.desired()
        assert not released.assignments
        silent = asyncio.create_task(second.desired())
        done, _ = await asyncio.wait([silent], timeout=0.5)
        assert not done, "the first relay has not acknowledged yet"
        await first.ack(released)
        assert [each.name for each in (await silent).assignments] == ["gate"]


async def test_a_slow_relay_gets_the_newest_state_and_not_every_one(operator: Operator) -> None:
    operator.declare(gate="a")
    async with Relay(operator, "r1") as relay:
        await relay.until({"gate"})
        # Together more than any flow control window takes while nobody reads.
        for number in range(30):
            operator.known.declare(wide(f"camera-{number}"))
            operator.reconciler.once()
            await asyncio.sleep(0.01)
        received = 1
        while (await relay.desired()).assignments[0].name != "camera-29-0":
            received += 1
        assert received < 20


@pytest.mark.parametrize(
    "first",
    [
        pb.Report(),
        pb.Report(ack=pb.Ack(version=1)),
        pb.Report(hello=pb.Hello()),
        pb.Report(hello=pb.Hello(relay_uid="x" * 65)),
    ],
)
async def test_a_stream_that_does_not_begin_with_hello_is_refused(operator: Operator, first: pb.Report) -> None:
    pair = operator.certify("r1", Key("default", "default"))
    async with channel(operator.target, operator.issuer.bundle, pair) as opened:
        call = ControlPlaneStub(opened).Attach()
        await call.write(first)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not operator.known.relays


async def test_a_refused_state_is_not_taken_for_applied(operator: Operator) -> None:
    operator.declare(gate="a")
    async with Relay(operator, "r1") as relay:
        desired = await relay.desired()
        await relay.ack(desired, error="no")
        operator.declare(gate="b")
        later = await relay.desired()
        assert operator.known.relays["r1"].access is None
        await relay.ack(later)
        await eventually(lambda: operator.known.relays["r1"].access is not None, "it lives by the later state")
