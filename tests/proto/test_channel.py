"""The control plane's connection: private by construction, and a dead peer is noticed."""

from pathlib import Path

import grpc
import pytest
from pancar_proto import channel
from pancar_proto.v1 import control_pb2, control_pb2_grpc


@pytest.mark.parametrize("target", ["127.0.0.1:5000", "dns:///operator:443", "ipv4:127.0.0.1:1", ""])
def test_only_a_unix_socket_goes_without_tls(target: str) -> None:
    with pytest.raises(ValueError, match="unix"):
        channel.channel(target)
    with pytest.raises(ValueError, match="unix"):
        channel.server(target)


async def test_both_ends_meet_on_a_unix_socket(tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/c.sock"
    server = channel.server(target)
    await server.start()
    try:
        async with channel.channel(target) as connection:
            stub = control_pb2_grpc.ControlPlaneStub(connection)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stub.Attach(iter([control_pb2.Report()])):
                    pass
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(None)


async def test_an_address_that_cannot_be_bound_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot listen"):
        channel.server(f"unix:{tmp_path}/missing/folder/c.sock")
