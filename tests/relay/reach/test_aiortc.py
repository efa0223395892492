"""aiortc watches over IPv6 alone, and, by a bridge for it speaks no ICE-TCP, over TCP."""

import aiohttp
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from av import VideoFrame
from pancar_proto.v1 import control_pb2 as pb
from rigs.bridge import Bridge
from rigs.network import Host
from rigs.relay import Cameras, Relay, StartRelay, assignment

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def offer(http: aiohttp.ClientSession, relay: Relay, camera: Cameras) -> tuple[RTCPeerConnection, str]:
    """A peer, and the answer to its offer."""
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = relay.bearer() | {"Content-Type": "application/sdp"}
    url = f"{relay.url}/whep/kota/taman"
    async with http.post(url, data=peer.localDescription.sdp, headers=headers, ssl=False) as response:
        assert response.status == 201, await response.text()
        return peer, await response.text()


async def plays(peer: RTCPeerConnection, answer: str) -> None:
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    track = peer.getReceivers()[0].track
    for _ in range(30):
        picture = await track.recv()
        assert isinstance(picture, VideoFrame)
        assert (picture.width, picture.height) == (320, 180)
    await peer.close()


async def test_over_ipv6_alone(
    host: Host, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    ours = host.gateway6
    relay = await start_relay(
        PANCAR_HTTP_LISTEN=f"[{ours}]:0", PANCAR_MEDIA_LISTEN="[::]:0", PANCAR_MEDIA_ADDRESSES=ours
    )
    assert relay.url.startswith(f"https://[{ours}]:")
    peer, answer = await offer(http, relay, camera)
    assert f"c=IN IP6 {ours}\r\n" in answer
    candidates = [line.split()[4] for line in answer.splitlines() if line.startswith("a=candidate:")]
    assert candidates == [ours, ours]
    await plays(peer, answer)


async def test_over_a_framed_connection(relay: Relay, camera: Cameras, http: aiohttp.ClientSession) -> None:
    peer, answer = await offer(http, relay, camera)
    bridge, answer = await Bridge.to(answer)
    await plays(peer, answer)
    bridge.close()


async def test_http_on_the_wildcard_is_reached_by_both_families(
    start_relay: StartRelay, http: aiohttp.ClientSession
) -> None:
    relay = await start_relay(PANCAR_HTTP_LISTEN="[::]:0", PANCAR_MEDIA_LISTEN="[::]:0")
    port = relay.url.rpartition(":")[2]
    for address in ("127.0.0.1", "[::1]"):
        async with http.get(f"https://{address}:{port}/healthz", ssl=False) as response:
            assert response.status == 200
