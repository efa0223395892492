"""A relay process that is asked to end has its cameras moved first, and serves meanwhile."""

import asyncio
import signal
import time

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import Cameras, Operator, Relay, StartRelay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENT = {"PANCAR_DRAIN_SECONDS": "60"}


async def draining(operator: Operator, start_relay: StartRelay, camera: Cameras) -> Relay:
    """A relay with a live camera that has just been asked to end."""
    relay = await start_relay(**PATIENT)
    await operator.desire(assignment("taman", camera.urls[0]))
    await operator.camera("taman", pb.CAMERA_STATE_LIVE)
    relay.process.terminate()
    await eventually(lambda: relay.events("relay.draining"), "it begins to drain")
    return relay


async def test_it_asks_serves_and_ends_once_it_is_empty(
    operator: Operator, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    relay = await draining(operator, start_relay, camera)
    assert (await operator.report(lambda r: r.HasField("drain"))).drain.reason
    async with http.get(f"{relay.url}/readyz") as response:
        assert response.status == 503
    async with http.get(f"{relay.url}/healthz") as response:
        assert response.status == 200
    async with http.get(f"{relay.url}/api/v1/cameras", headers=relay.bearer()) as response:
        assert [c["state"] for c in (await response.json())["cameras"]] == ["Live"]
    # The last word, that it is empty, arrives before the stream ends.
    assert (await operator.desire()).error == ""
    assert await relay.ended() == 0


async def test_whoever_attaches_later_is_asked_too(
    operator: Operator, start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    relay = await start_relay(**PATIENT)
    await operator.desire(assignment("taman", camera.urls[0]))
    await operator.camera("taman", pb.CAMERA_STATE_LIVE)
    await operator.stop()
    # As late as can be: a join of which no more comes is given up after ten seconds.
    async with http.post(
        f"{relay.url}/whep/kota/taman", data=OFFER, headers=relay.bearer() | {"Content-Type": "application/sdp"}
    ) as response:
        assert response.status == 201
    relay.process.terminate()
    await eventually(lambda: relay.events("relay.draining"), "it begins to drain")
    await asyncio.sleep(0.5)
    # Somebody watches, so that it goes on.
    assert relay.process.poll() is None
    operator.heard.clear()
    await operator.start()
    await operator.report(lambda r: r.HasField("drain"))
    await operator.desire()
    assert await relay.ended() == 0


async def test_a_second_signal_ends_it(operator: Operator, start_relay: StartRelay, camera: Cameras) -> None:
    relay = await draining(operator, start_relay, camera)
    relay.process.send_signal(signal.SIGTERM)
    assert await relay.ended() == 0


async def test_where_nobody_is_attached_and_nobody_watches_it_ends(
    operator: Operator, start_relay: StartRelay, camera: Cameras
) -> None:
    relay = await start_relay(**PATIENT)
    await operator.desire(assignment("taman", camera.urls[0]))
    await operator.stop()
    await eventually(lambda: relay.events("control.detached"), "it notices")
    relay.process.terminate()
    assert await relay.ended() == 0


async def test_it_ends_at_its_deadline(operator: Operator, start_relay: StartRelay, camera: Cameras) -> None:
    relay = await start_relay(PANCAR_DRAIN_SECONDS="2")
    await operator.desire(assignment("taman", camera.urls[0]))
    await operator.camera("taman", pb.CAMERA_STATE_LIVE)
    asked = time.monotonic()
    relay.process.terminate()
    assert await relay.ended() == 0
    assert time.monotonic() - asked > 2.0


OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
    "a=ice-ufrag:frag\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"
    f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n"
)
