"""A viewer behind a firewall that lets no UDP through watches over ICE-TCP (RFC 6544)."""

from pathlib import Path

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.far import browsing
from rigs.network import Host
from rigs.relay import Cameras, Relay, StartRelay, assignment

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def live(start_relay: StartRelay, camera: Cameras, address: str) -> Relay:
    """A relay that says of itself to be reached at `address`, and has the camera "taman"."""
    relay = await start_relay(PANCAR_MEDIA_LISTEN="[::]:0", PANCAR_MEDIA_ADDRESSES=address)
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    return relay


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_chromium_plays_over_tcp(
    family: str, host: Host, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ours = host.gateway if family == "IPv4" else host.gateway6
    relay = await live(start_relay, camera, ours)
    host.block_udp()
    async with browsing(host, tmp_path) as browser:
        await browser.watch(http, relay, "taman")
        await browser.plays(40)
        remote = (await browser.pair())["remote"]
        assert (remote["protocol"], remote["address"]) == ("tcp", ours)
        assert f"{remote['port']}" == relay.hello.media_tcp_addresses[0].rpartition(":")[2]
        async with http.get(f"{relay.url}/metrics", headers=relay.bearer(scope="metrics")) as response:
            assert "pancar_tcp_connections 1.0" in await response.text()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_with_udp_chromium_does_without_tcp(
    family: str, host: Host, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ours = host.gateway if family == "IPv4" else host.gateway6
    relay = await live(start_relay, camera, ours)
    async with browsing(host, tmp_path) as browser:
        await browser.watch(http, relay, "taman")
        await browser.plays(40)
        remote = (await browser.pair())["remote"]
        assert (remote["protocol"], remote["address"]) == ("udp", ours)
