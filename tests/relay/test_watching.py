"""A viewer that is not ours (aiortc) watches a real camera through a real relay process."""

import asyncio
from typing import Any

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from rigs.relay import Cameras, Relay, assignment
from pancar_proto.v1 import control_pb2 as pb


async def watch(http: aiohttp.ClientSession, relay: Relay, name: str) -> tuple[RTCPeerConnection, str]:
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = relay.bearer() | {"Content-Type": "application/sdp"}
    async with http.post(f"{relay.url}/whep/kota/{name}", data=peer.localDescription.sdp, headers=headers) as response:
        assert response.status == 201, await response.text()
        await peer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
        return peer, response.headers["Location"]


async def frames(peer: RTCPeerConnection, count: int) -> list[Any]:
    track = peer.getReceivers()[0].track
    async with asyncio.timeout(10):
        return [await track.recv() for _ in range(count)]


async def test_pictures_arrive(relay: Relay, camera: Cameras, http: aiohttp.ClientSession) -> None:
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    live = await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    assert (live.video.codec, live.video.width, live.video.height) == ("H264", 320, 180)
    peer, location = await watch(http, relay, "taman")
    pictures = await frames(peer, 20)
    assert {(picture.width, picture.height) for picture in pictures} == {(320, 180)}
    async with http.delete(relay.url + location, headers=relay.bearer()) as response:
        assert response.status == 200
    async with asyncio.timeout(5):
        while peer.getReceivers()[0].transport.state != "closed":
            await asyncio.sleep(0.05)
    await peer.close()
    ended = [event for event in relay.events() if event["event"] == "session.ended"]
    assert [(e["subject"], e["camera"], e["reason"]) for e in ended] == [("tester", "kota/taman", "Deleted")]
