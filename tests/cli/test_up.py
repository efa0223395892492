"""`pancar up` as a process: its links, its relay's deaths, its end. The camera is an address where nobody answers."""

import asyncio
import contextlib
import datetime
import hashlib
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pancar_cli.certificate import obtain
from rigs.manifests import camera, dump
from rigs.up import LINK, PANCAR, Runs, Up
from rigs.waiting import eventually

NOBODY = camera("gate", "rtsp://127.0.0.1:9/stream")
DONE, FAILED, REFUSED = 0, 1, 2


async def exchange(link: str) -> int:
    """What the relay answers to a one-time link."""
    base, code = link.split("/enter#")
    address = f"{base}/api/v1/session"
    async with aiohttp.ClientSession() as session, session.post(address, json={"code": code}) as response:
        return response.status


async def finished(*arguments: str | Path, seconds: float = 60.0) -> tuple[int, str]:
    """Runs `pancar` to its end; its exit code and all it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(PANCAR, *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_link_is_good_once_as_soon_as_it_is_printed(up: Runs) -> None:
    async with up(NOBODY) as run:
        assert await exchange(run.link) == 204
        assert await exchange(run.link) == 403
        await eventually(lambda: not list((run.state / "links").iterdir()), "the used link is forgotten for good")
        another = (await run.pancar("token", "--link", "--camera", "desa/*")).strip()
        assert LINK.fullmatch(another)
        assert another.startswith(f"{run.base}/enter#")
        assert await exchange(another) == 204
        assert "gate" not in str(await run.get("/api/v1/cameras", token=await run.mint("--camera", "desa/*")))
        assert "gate" in str(await run.get("/api/v1/cameras"))


async def test_a_used_link_stays_used_when_the_relay_is_killed(up: Runs) -> None:
    async with up(NOBODY) as run:
        assert await exchange(run.link) == 204
        await eventually(lambda: not list((run.state / "links").iterdir()), "the used link is forgotten")
        await restarted(run)
        assert await exchange(run.link) == 403


async def restarted(run: Up) -> None:
    """Kills the relay and waits for the next one to answer at the same place."""
    (before,) = run.relays()
    run.kill_relay()
    await eventually(lambda: run.relays() not in ([], [before]), "another relay was started", seconds=60)

    async def answers() -> bool:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {run.token}"}) as session:
            try:
                response = await session.get(f"{run.base}/api/v1/cameras")
                return response.status == 200 and "gate" in await response.text()
            except aiohttp.ClientError:
                return False

    await eventually(answers, "the new relay answers under the old address, with the same cameras", seconds=60)


async def test_a_killed_relay_is_replaced_at_the_same_place(up: Runs) -> None:
    async with up(NOBODY) as run:
        media = re.search(r"media=(\S+)", run.relay_log)
        await run.stands_by()
        started = time.monotonic()
        await restarted(run)
        assert time.monotonic() - started < 10
        assert re.findall(r"media=(\S+)", run.relay_log) == [media and media[1]] * 2
        assert "SIGKILL" in run.output
        assert len(LINK.findall(run.output)) == 1, "the old link's cookie still opens the wall: no new one"


async def test_the_relay_ends_with_up_even_if_that_is_killed(tmp_path: Path) -> None:
    run = Up(tmp_path, [NOBODY])
    await run.start()
    (relay,) = run.relays()
    parent = re.search(r"PPid:\s+(\d+)", Path(f"/proc/{relay}/status").read_text())
    assert parent
    os.kill(int(parent[1]), signal.SIGKILL)
    await eventually(lambda: not run.relays(), "the relay has ended", seconds=20)
    # The folder is free for the next one, and the key is the same.
    again = Up(tmp_path, [NOBODY])
    async with again:
        assert await again.get("/api/v1/session", token=run.token)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_all_within_seconds(tmp_path: Path, number: signal.Signals) -> None:
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([NOBODY]))
    async with printing(manifest, end_by=number):
        started = time.monotonic()
    assert time.monotonic() - started < 15


@contextlib.asynccontextmanager
async def printing(manifest: Path, *options: str | Path, end_by: int = signal.SIGTERM) -> AsyncIterator[str]:
    """A `pancar up` from its link, which is yielded, to its end by a signal; nothing may be left of it."""
    state = manifest.parent / "state"
    process = await asyncio.create_subprocess_exec(
        *(PANCAR, "up", manifest, "--state-dir", state, "--listen", "127.0.0.1:0", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    found = None
    try:
        async for line in process.stdout:
            if found := LINK.search(line.decode()):
                break
        assert found, "it ended before it printed a link"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        yield found[0]
    finally:
        if process.returncode is None:
            process.send_signal(end_by)
        assert await process.wait() == DONE
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


async def test_https_with_a_given_certificate(tmp_path: Path) -> None:
    certificate = obtain(tmp_path, ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([NOBODY]))
    tls = ("--cert", certificate.certificate, "--key", certificate.key)
    async with printing(manifest, *tls) as link:
        assert link.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(certificate.certificate))
        address = f"{link.partition('/enter')[0]}/healthz"
        async with aiohttp.ClientSession() as session, session.get(address, ssl=trusting) as response:
            assert response.status == 200


async def test_a_wrong_manifest_at_the_start_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([camera("gate", "rtsp://admin:hunter2@127.0.0.1/")]))
    code, output = await finished("up", manifest, "--state-dir", tmp_path / "state")
    assert code == REFUSED
    assert re.search(r"cameras\.yaml:8: Camera gate: spec\.source\.main\.url must not contain", output)
    assert "hunter2" not in output
    code, output = await finished("up", tmp_path / "none.yaml", "--state-dir", tmp_path / "state")
    assert (code, "none.yaml: is not there" in output) == (REFUSED, True)


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([NOBODY]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, output = await finished("up", manifest, "--state-dir", tmp_path / "state", "--listen", address)
    assert code == FAILED
    assert f"Nothing can listen on {address}: Address already in use. Choose another with --listen." in output


async def test_a_relay_that_cannot_start_ends_up_with_its_last_words(tmp_path: Path) -> None:
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([NOBODY]))
    arguments = ("up", manifest, "--state-dir", tmp_path / "state", "--listen", "127.0.0.1:0")
    code, output = await finished(*arguments, "--media-listen", "192.0.2.1:0")
    assert code == FAILED
    assert "The relay does not start" in output
    assert "Cannot assign requested address" in output


async def test_two_at_once_need_two_folders(up: Runs) -> None:
    async with up(NOBODY) as run:
        code, output = await finished("up", run.manifest, "--state-dir", run.state, "--listen", "127.0.0.1:0")
        assert code == FAILED
        assert "--state-dir" in output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--listen", "localhost:8080"), "--listen must be an IP address and a port"),
        (("--listen", "127.0.0.1"), "--listen must be an IP address and a port"),
        (("--turn", "turn.example.org"), "--turn, --turn-secret: no STUN or TURN URL"),
        (("--turn", "turn:turn.example.org"), "TURN servers want a file with the secret"),
        (("--cors-origin", "portal.example.org"), "--cors-origin: neither an origin"),
        (("--cert", "x.pem"), "--cert and --key go together"),
    ],
)
async def test_wrong_options_are_explained(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    code, output = await finished("up", tmp_path / "cameras.yaml", *arguments)
    assert code == REFUSED
    assert told in re.sub(r"[\s│]+", " ", output)


async def test_edits_are_told_and_cameras_of_other_pools_too(up: Runs) -> None:
    async with up(NOBODY) as run:
        elsewhere = camera("police", "rtsp://127.0.0.1:9/a", poolRef={"name": "police"})
        run.write([NOBODY, elsewhere])
        await eventually(lambda: "added: 1, changed: 0, removed: 0" in run.output, "the edit was told")
        assert re.search(r"serves RelayPool default/default.*not pulled: default/police \(1 in all\)", run.output)
        assert set(await run.cameras()) == {"gate"}
        run.write([camera("gate", "rtsp://127.0.0.1:9/other")])
        await eventually(lambda: "added: 0, changed: 1, removed: 1" in run.output, "the edit was told")


NETWORK = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


async def test_https_with_a_certificate_of_its_own_beyond_loopback(tmp_path: Path) -> None:
    """In a network of its own, so that the test listens nowhere else."""
    probe = await asyncio.create_subprocess_exec(*NETWORK, "true", stderr=asyncio.subprocess.DEVNULL)
    if await probe.wait() != 0:
        pytest.skip("needs leave to make a network namespace (unshare) and ip (iproute2)")
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([NOBODY]))
    state = tmp_path / "state"
    process = await asyncio.create_subprocess_exec(
        *(*NETWORK, PANCAR, "up", manifest, "--state-dir", state, "--listen", "0.0.0.0:0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    output = ""
    async for line in process.stdout:
        output += line.decode()
        if found := LINK.search(output):
            assert found[1].startswith("https://")
            break
    certificate = (state / "tls" / "certificate.pem").read_text()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest().hex(":").upper()
    assert fingerprint in output
    process.terminate()
    assert await process.wait() == DONE
