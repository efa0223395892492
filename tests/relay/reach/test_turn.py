"""A viewer who may speak to a TURN server alone watches through it."""

from pathlib import Path

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.far import browsing
from rigs.network import Host
from rigs.relay import Cameras, StartRelay, assignment
from rigs.turn import turning

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_chromium_plays_through_coturn_with_relay_candidates_only(
    transport: str, host: Host, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    relay = await start_relay(PANCAR_MEDIA_LISTEN="[::]:0", PANCAR_MEDIA_ADDRESSES=host.gateway)
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    if transport == "tcp":
        host.block_udp()
    with turning(host.gateway, tmp_path) as turn:
        async with browsing(host, tmp_path) as browser:
            configuration = {"iceTransportPolicy": "relay", "iceServers": turn.ice_servers(transport)}
            await browser.watch(http, relay, "taman", configuration)
            await browser.plays(40)
            pair = await browser.pair()
            local, remote = pair["local"], pair["remote"]
            assert (local["candidateType"], local["relayProtocol"]) == ("relay", transport)
            # From the server on it is UDP in either case.
            assert (remote["protocol"], remote["address"]) == ("udp", host.gateway)
