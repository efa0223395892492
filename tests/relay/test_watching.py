"""A viewer that is not ours (aiortc) watches real cameras through a real relay process."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiortc import MediaStreamError, RTCPeerConnection, RTCSessionDescription
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import PASSWORD, Cameras, Relay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def watching(
    http: aiohttp.ClientSession, relay: Relay, name: str, **claims: Any
) -> AsyncIterator[tuple[RTCPeerConnection, str]]:
    """A peer that joined, and its session's URL."""
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = relay.bearer(**claims) | {"Content-Type": "application/sdp"}
    async with http.post(f"{relay.url}/whep/kota/{name}", data=peer.localDescription.sdp, headers=headers) as response:
        assert response.status == 201, await response.text()
        assert response.content_type == "application/sdp"
        location = relay.url + response.headers["Location"]
        await peer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
    try:
        yield peer, location
    finally:
        await peer.close()


async def frames(peer: RTCPeerConnection, count: int) -> list[Any]:
    track = peer.getReceivers()[0].track
    async with asyncio.timeout(20):
        return [await track.recv() for _ in range(count)]


async def closed(peer: RTCPeerConnection, seconds: float = 15.0) -> None:
    transport = peer.getReceivers()[0].transport
    await eventually(lambda: transport.state == "closed", "the viewer hears of the end", seconds=seconds)


def sessions(relay: Relay, event: str) -> list[dict[str, Any]]:
    return [logged for logged in relay.events() if logged["event"] == event]


async def ends(relay: Relay) -> list[dict[str, Any]]:
    """What the relay logs of a session that ends: after its alert, so the viewer may know of it first."""
    return await eventually(lambda: sessions(relay, "session.ended"), "the relay logs the session's end")


async def counted(http: aiohttp.ClientSession, relay: Relay, *patterns: str) -> None:
    """Waits until the metrics have each: what a datagram tells counts once it has come."""

    async def told() -> bool:
        async with http.get(f"{relay.url}/metrics", headers=relay.bearer(scope="metrics")) as response:
            metrics = await response.text()
        return all(re.search(pattern, metrics) for pattern in patterns)

    await eventually(told, f"the metrics have {patterns}")


async def live(relay: Relay, *assignments: pb.Assignment) -> None:
    await relay.operator.desire(*assignments)
    for wanted in assignments:
        await relay.operator.camera(wanted.name, pb.CAMERA_STATE_LIVE)


async def test_pictures_arrive_until_the_viewer_leaves(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    await live(relay, assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (peer, location):
        pictures = await frames(peer, 20)
        assert {(picture.width, picture.height) for picture in pictures} == {(320, 180)}
        await counted(
            http,
            relay,
            r'pancar_joins_total\{outcome="connected"\} 1\.0',
            r'pancar_camera_viewers\{camera="taman",namespace="kota"\} 1\.0',
            r'pancar_camera_packets_sent_total\{camera="taman",namespace="kota"\} [1-9]',
        )
        async with http.delete(location, headers=relay.bearer(sub="somebody-else")) as response:
            assert response.status == 404
        async with http.delete(location, headers=relay.bearer()) as response:
            assert response.status == 200
        await closed(peer)
        async with http.delete(location, headers=relay.bearer()) as response:
            assert response.status == 404
    started, ended = sessions(relay, "session.started"), await ends(relay)
    assert [(e["subject"], e["camera"], e["session"]) for e in started] == [("tester", "kota/taman", 1)]
    assert [(e["subject"], e["camera"], e["reason"]) for e in ended] == [("tester", "kota/taman", "Deleted")]
    assert 0 < ended[0]["seconds"] < 60
    assert location.rpartition("/")[2] not in relay.log.read_text()


async def test_a_session_ends_with_its_right(relay: Relay, camera: Cameras, http: aiohttp.ClientSession) -> None:
    await live(relay, assignment("taman", camera.urls[0]))
    until = time.time() + 12.0
    async with watching(http, relay, "taman", exp=until) as (peer, _):
        await frames(peer, 5)
        await closed(peer, seconds=30.0)
        assert until <= time.time() < until + 10.0
    assert [e["reason"] for e in await ends(relay)] == ["RightEnded"]


async def test_a_revoked_key_ends_its_sessions(relay: Relay, camera: Cameras, http: aiohttp.ClientSession) -> None:
    await live(relay, assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (peer, _):
        await frames(peer, 5)
        await relay.operator.desire(assignment("taman", camera.urls[0]), access=pb.Access(issuer="x", audience="x"))
        await closed(peer)
    assert [e["reason"] for e in await ends(relay)] == ["RightEnded"]


async def test_a_session_outlives_its_cameras_outage(relay: Relay, http: aiohttp.ClientSession) -> None:
    camera = Cameras("--gop", "0.5")
    port = camera.urls[0].rpartition(":")[2].partition("/")[0]
    await live(relay, assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (peer, _):
        await frames(peer, 5)
        camera.close()
        offline = await relay.operator.camera("taman", pb.CAMERA_STATE_OFFLINE)
        assert offline.reason in ("Disconnected", "Refused")
        returned = Cameras("--gop", "0.5", "--port", port)
        try:
            await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
            # Twice what the viewer may still have buffered from before.
            assert len(await frames(peer, 60)) == 60
        finally:
            returned.close()
    assert sessions(relay, "session.ended") == []


async def test_a_pause_for_privacy_ends_the_pictures_at_once(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    await live(relay, assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (peer, _):
        await frames(peer, 5)
        await relay.operator.desire(assignment("taman", camera.urls[0], paused=True, paused_reason="Pemakaman"))
        await closed(peer)
    assert [e["reason"] for e in await ends(relay)] == ["StreamClosed"]


async def test_viewers_are_told_where_the_operator_says_media_is_reached(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    def candidates(peer: RTCPeerConnection) -> list[str]:
        lines = peer.remoteDescription.sdp.splitlines()
        found = [line.split() for line in lines if line.startswith("a=candidate:")]
        return [" ".join((words[2], *words[4:6])) for words in found]

    port = relay.hello.media_addresses[0].rpartition(":")[2]
    [tcp] = relay.hello.media_tcp_addresses
    own = [f"udp 127.0.0.1 {port}", f"tcp {tcp.replace(':', ' ')}"]
    await live(relay, assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (first, _):
        assert candidates(first) == own
        # Another address of the same host, as a node's port is another one of the same relay.
        await relay.operator.desire(
            assignment("taman", camera.urls[0]),
            media_addresses=["203.0.113.7:30801", f"127.0.0.1:{port}"],
            media_tcp_addresses=["203.0.113.7:30802"],
        )
        async with watching(http, relay, "taman") as (second, _):
            told = ["udp 203.0.113.7 30801", f"udp 127.0.0.1 {port}", "tcp 203.0.113.7 30802"]
            assert candidates(second) == told
            await frames(second, 5)
        await frames(first, 5)
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (third, _):
        assert candidates(third) == own


async def test_new_credentials_keep_the_viewers(relay: Relay, http: aiohttp.ClientSession) -> None:
    cameras = Cameras("--count", "2", "--gop", "0.5", password=PASSWORD)
    try:
        wrong = assignment("gerbang", cameras.urls[1], username="viewer", password="salah")
        await relay.operator.desire(wrong)
        status = await relay.operator.camera("gerbang", pb.CAMERA_STATE_OFFLINE)
        assert status.reason == "Unauthorized"
        right = assignment("gerbang", cameras.urls[1], username="viewer", password=PASSWORD)
        await live(relay, right)
        async with watching(http, relay, "gerbang") as (peer, _):
            await frames(peer, 5)
            right.main.url = cameras.urls[0]
            await relay.operator.desire(right)
            assert len(await frames(peer, 60)) == 60
        assert sessions(relay, "session.ended") == []
    finally:
        cameras.close()
    assert PASSWORD not in relay.log.read_text()
    assert "salah" not in relay.log.read_text()


async def test_a_relay_that_is_told_to_end_says_goodbye(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    await live(relay, assignment("taman", camera.urls[0]))
    async with watching(http, relay, "taman") as (peer, _):
        await frames(peer, 5)
        relay.process.terminate()
        await closed(peer)
        assert await relay.ended() == 0
    assert [e["reason"] for e in await ends(relay)] == ["Shutdown"]
    assert relay.events()[-1]["event"] == "relay.stopped"
    with pytest.raises(MediaStreamError):
        await frames(peer, 1000)


async def test_an_offer_of_another_certificate_gets_no_media(
    relay: Relay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    await live(relay, assignment("taman", camera.urls[0]))
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    lines = [
        f"{line[:-2]}{'00' if line[-2:] != '00' else '11'}" if line.startswith("a=fingerprint:") else line
        for line in peer.localDescription.sdp.splitlines()
    ]
    headers = relay.bearer() | {"Content-Type": "application/sdp"}
    async with http.post(f"{relay.url}/whep/kota/taman", data="\r\n".join(lines), headers=headers) as response:
        assert response.status == 201
        await peer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
    assert [e["reason"] for e in await ends(relay)] == ["HandshakeFailed"]
    await peer.close()
