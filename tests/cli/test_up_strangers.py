"""Who reaches the sockets of `pancar up` without being a relay that it started gets nothing from it."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import grpc
from pancar_operator.authority import Authorities, Issuer
from pancar_proto.channel import Pair, channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneStub, EnrolmentStub
from rigs.attach import certified, requested
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually

NOBODY = camera("gate", "rtsp://127.0.0.1:9/stream")


async def attach(folder: Path, authorities: bytes, pair: Pair | None) -> grpc.StatusCode:
    async with channel(f"unix:{folder}/control.sock", authorities, pair) as opened:
        try:
            call = ControlPlaneStub(opened).Attach()
            await call.write(pb.Report(hello=pb.Hello(relay_uid="r1", pool="default")))
            await call.read()
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def enrol(folder: Path, authorities: bytes, token: str) -> tuple[grpc.StatusCode, Pair | None]:
    key, request = requested()
    async with channel(f"unix:{folder}/enrol.sock", authorities) as opened:
        try:
            answer = await EnrolmentStub(opened).Enrol(pb.EnrolRequest(csr=request, token=token))
        except grpc.aio.AioRpcError as error:
            return error.code(), None
    return grpc.StatusCode.OK, Pair(answer.certificates, key)


async def test_a_stranger_is_refused_and_a_token_is_good_for_its_relay_alone(up: Runs) -> None:
    async with up(NOBODY) as run:
        folder = run.state / "run"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        authorities = (folder / "ca.crt").read_bytes()
        theirs = Issuer(Authorities.new(datetime.now(UTC)), lambda: datetime.now(UTC))
        assert await attach(folder, authorities, None) is grpc.StatusCode.UNAVAILABLE
        assert await attach(folder, authorities, certified(theirs, "r1")) is grpc.StatusCode.UNAVAILABLE
        assert (await enrol(folder, authorities, "guessed"))[0] is grpc.StatusCode.UNAUTHENTICATED

        # One that runs and one in reserve.
        tokens = await eventually(lambda: sorted(folder.glob("*.token"))[1:] and sorted(folder.glob("*.token")), "both")
        assert {stat.S_IMODE(path.stat().st_mode) for path in tokens} == {0o600}
        assert len({path.read_text() for path in tokens}) == 2
        code, pair = await enrol(folder, authorities, tokens[0].read_text())
        assert code is grpc.StatusCode.OK
        assert await attach(folder, authorities, pair) is grpc.StatusCode.PERMISSION_DENIED, "it is not r1"

        stale = {path: path.read_text() for path in tokens}
        run.kill_relay()
        (gone,) = await eventually(lambda: [path for path in stale if not path.exists()], "its token is gone")
        assert (await enrol(folder, authorities, stale[gone]))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert [path.name for path in folder.iterdir() if path.suffix in (".token", ".crt", ".sock")] == []
