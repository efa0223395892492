"""A relay process started anew beside the folder of the one before, with its operator there and without."""

import asyncio
import stat
from pathlib import Path

import aiohttp
import pytest
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import PASSWORD, Cameras, Operator, Relay, StartRelay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def states(relay: Relay, http: aiohttp.ClientSession) -> dict[str, str]:
    async with http.get(f"{relay.url}/api/v1/cameras", headers=relay.bearer()) as response:
        cameras = (await response.json()).get("cameras", []) if response.status == 200 else []
        return {camera["name"]: camera["state"] for camera in cameras}


async def killed(relay: Relay) -> dict[str, str]:
    """Ends it as no process can prevent; the settings of its successor."""
    relay.process.kill()
    await relay.ended()
    return {"PANCAR_RELAY_UID": relay.uid}


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, str]:
    return {"PANCAR_STATE_DIR": str(tmp_path / "state")}


async def test_without_its_operator_it_lives_by_what_was_acknowledged(
    operator: Operator,
    start_relay: StartRelay,
    camera: Cameras,
    http: aiohttp.ClientSession,
    folder: dict[str, str],
) -> None:
    relay = await start_relay(**folder)
    link = operator.minter.link("kode")
    await operator.desire(
        assignment("taman", camera.urls[0], username="admin", password=PASSWORD),
        assignment("sunyi", camera.urls[0], paused=True, paused_reason="Pemakaman"),
        term=7,
        access=operator.minter.access(link),
    )
    await operator.camera("taman", pb.CAMERA_STATE_LIVE)
    await operator.stop()
    again = await start_relay(attached=False, **folder, **await killed(relay))

    async def live() -> bool:
        return await states(again, http) == {"taman": "Live", "sunyi": "Paused"}

    await eventually(live, "it pulls what it was told to, and shows no camera that is paused")
    # Whether the link was used there, this process does not know.
    async with http.post(f"{again.url}/api/v1/session", json={"code": "kode"}) as response:
        assert response.status == 403
    operator.heard.clear()
    await operator.start()
    await operator.report(lambda r: r.hello.relay_uid == relay.uid)
    assert again.hello.term == 7
    assert {(key.namespace, key.name) for key in again.hello.holding} == {("kota", "taman"), ("kota", "sunyi")}


async def test_a_term_that_was_over_stays_so(
    operator: Operator, start_relay: StartRelay, folder: dict[str, str]
) -> None:
    relay = await start_relay(**folder)
    await operator.desire(term=7)
    again = await start_relay(**folder, **await killed(relay))
    assert (await operator.desire(term=6)).error.startswith("term 6 is over")
    assert again.hello.term == 7


async def test_an_operator_that_is_there_is_asked_first(
    operator: Operator, start_relay: StartRelay, camera: Cameras, folder: dict[str, str]
) -> None:
    relay = await start_relay(**folder)
    await operator.desire(assignment("taman", camera.urls[0]))
    await operator.camera("taman", pb.CAMERA_STATE_LIVE)
    successor = await killed(relay)
    operator.withdraw()
    again = await start_relay(**folder, **successor)
    assert [key.name for key in again.hello.holding] == ["taman"]
    await asyncio.sleep(2.5)
    assert again.events("control.lives_by_kept") == []
    assert again.events("camera.live") == []


async def test_a_certificate_lasts_beyond_a_process(
    operator: Operator, start_relay: StartRelay, folder: dict[str, str]
) -> None:
    relay = await start_relay(**folder)
    again = await start_relay(**folder, **await killed(relay))
    assert operator.peers[-1] == operator.peers[0]
    assert again.events("enrol.certified") == []


async def test_only_its_user_reads_what_it_keeps(
    operator: Operator, start_relay: StartRelay, folder: dict[str, str]
) -> None:
    await start_relay(**folder)
    await operator.desire(assignment("taman", "rtsp://127.0.0.1:1/", password=PASSWORD))
    files = list(Path(folder["PANCAR_STATE_DIR"]).iterdir())
    assert {file.name for file in files} == {"key.pem", "certificates.pem", "desired"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
