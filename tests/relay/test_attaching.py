"""A relay process and its operator: what is reported, refused and remembered, and that media waits for neither."""

import hashlib

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import Cameras, Operator, Relay, StartRelay, assignment

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_hello_says_what_the_relay_is(relay: Relay) -> None:
    hello = relay.hello
    assert hello.http_url.startswith("http://127.0.0.1:")
    assert [address.rpartition(":")[0] for address in hello.media_addresses] == ["127.0.0.1"]
    assert hello.capacity.cameras > 0
    assert (hello.pool, hello.version) == ("default", "0.1.0")


async def test_a_relay_that_was_told_nothing_yet_sends_nobody_away_for_good(
    operator: Operator, start_relay: StartRelay, http: aiohttp.ClientSession
) -> None:
    await operator.stop()
    relay = await start_relay(attached=False)
    for path in ("/healthz", "/readyz"):
        async with http.get(relay.url + path) as response:
            assert response.status == 200
    async with http.get(f"{relay.url}/api/v1/cameras", headers={"Authorization": "Bearer x.y.z"}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    async with http.post(f"{relay.url}/api/v1/session", json={"code": "x"}) as response:
        assert response.status == 503


async def test_states_are_acknowledged_or_refused(relay: Relay) -> None:
    assert (await relay.operator.desire(term=2)).error == ""
    assert "term 1 is over" in (await relay.operator.desire(term=1)).error
    refused = await relay.operator.desire(assignment("taman", "rtsp://a:b@192.0.2.1/"), term=2)
    assert "kota/taman" in refused.error


async def test_transitions_are_reported_once_each(relay: Relay, camera: Cameras) -> None:
    await relay.operator.desire(assignment("taman", camera.urls[0]))
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    await relay.operator.desire(assignment("taman", camera.urls[0], title="Taman Kota"))
    await relay.operator.desire(assignment("taman", camera.urls[0], paused=True, paused_reason="Pemakaman"))
    paused = await relay.operator.camera("taman", pb.CAMERA_STATE_OFFLINE)
    assert (paused.reason, paused.message) == ("Paused", "Pemakaman")
    states = [r.camera.state for r in relay.operator.heard if r.HasField("camera")]
    # The wait may be over before it is its turn to be sent.
    assert states[:-2] in ([], [pb.CAMERA_STATE_WAITING])
    assert states[-2:] == [pb.CAMERA_STATE_LIVE, pb.CAMERA_STATE_OFFLINE]


async def test_what_is_reported_names_the_generation_it_speaks_of(relay: Relay, camera: Cameras) -> None:
    for generation in (1, 2):
        await relay.operator.desire(assignment("taman", camera.urls[0], generation=generation))
        told = await relay.operator.report(lambda r, want=generation: r.camera.generation == want)  # type: ignore[misc]
        assert told.camera.name == "taman"
    status = await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    assert status.generation == 2


async def test_a_fault_is_reported_with_its_cause(relay: Relay) -> None:
    await relay.operator.desire(assignment("taman", "rtsp://127.0.0.1:1/"))
    status = await relay.operator.camera("taman", pb.CAMERA_STATE_OFFLINE)
    assert status.reason == "Refused"
    assert "mends this" in status.message
    assert status.since.ToSeconds() > 0


async def test_a_url_that_only_the_engine_refuses_is_one_cameras_fault(relay: Relay, camera: Cameras) -> None:
    await relay.operator.desire(
        assignment("rusak", "rtsp://192.0.2.1:99999/"),
        assignment("taman", camera.urls[0]),
        assignment("z", "rtsp://[/"),
    )
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    for name in ("rusak", "z"):
        assert (await relay.operator.camera(name, pb.CAMERA_STATE_OFFLINE)).reason == "Unreachable"


async def test_without_its_operator_the_relay_serves_and_comes_back(
    start_relay: StartRelay, camera: Cameras, http: aiohttp.ClientSession
) -> None:
    relay = await start_relay()
    code = "kode"
    access = relay.operator.minter.access(relay.operator.minter.link(code))
    await relay.operator.desire(assignment("taman", camera.urls[0]), access=access)
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    await relay.operator.stop()
    async with http.get(f"{relay.url}/readyz") as response:
        assert response.status == 200
    async with http.get(f"{relay.url}/api/v1/cameras", headers=relay.bearer()) as response:
        assert [c["state"] for c in (await response.json())["cameras"]] == ["Live"]
    async with http.post(f"{relay.url}/api/v1/session", json={"code": code}) as response:
        assert response.status == 204
    relay.operator.heard.clear()
    await relay.operator.start()
    await relay.operator.camera("taman", pb.CAMERA_STATE_LIVE)
    used = await relay.operator.report(lambda r: r.HasField("link_used"))
    assert used.link_used.code_sha256 == hashlib.sha256(code.encode()).digest()
