"""The operator's process where there is no API server: what it says, and how it ends."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

ENVIRONMENT = {
    "PANCAR_NAMESPACE": "pancar",
    "PANCAR_IDENTITY": "operator-a",
    "PANCAR_LISTEN": "127.0.0.1:0",
    "PANCAR_ENROL_LISTEN": "127.0.0.1:0",
    "PANCAR_RELAY_CONTROL": "127.0.0.1:8443",
    "PANCAR_RELAY_ENROL": "127.0.0.1:8444",
    "PANCAR_RELAY_IMAGE": "example.org/pancar-relay:1",
}
STARTED = re.compile(r"event=operator\.started .*health=(\S+)")


@asynccontextmanager
async def operator(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pancar_operator"),
        env={"PATH": os.environ["PATH"], **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def nobody(folder: Path) -> Path:
    """A kubeconfig of an API server that is not there."""
    cluster = {"name": "none", "cluster": {"server": f"https://127.0.0.1:{free_port()}"}}
    context = {"name": "none", "context": {"cluster": "none", "user": "none"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "none",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "none", "user": {"token": "none"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


async def health(process: asyncio.subprocess.Process) -> str:
    """Where it says that it is asked for its health, once it is served."""
    assert process.stderr is not None
    async with asyncio.timeout(60):
        async for line in process.stderr:
            if started := STARTED.search(line.decode()):
                return started[1]
    pytest.fail("it ended before it had started")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_what_is_wrong_with_the_environment_is_said() -> None:
    wrong = {**ENVIRONMENT, "PANCAR_RELAY_ENROL": "https://operator"}
    async with operator(wrong) as process:
        _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().startswith("pancar operator: PANCAR_RELAY_ENROL is not where relays reach the operator")


async def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    async with operator(ENVIRONMENT | {"KUBECONFIG": str(missing), "PANCAR_HEALTH_LISTEN": "127.0.0.1:0"}) as process:
        _, said = await process.communicate()
    assert process.returncode == 1
    assert str(missing) in said.decode()


async def test_it_lives_but_is_not_ready_without_an_api_server_and_ends_when_told(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"KUBECONFIG": str(nobody(tmp_path)), "PANCAR_HEALTH_LISTEN": "127.0.0.1:0"}
    async with operator(environment) as process, aiohttp.ClientSession() as session:
        address = await health(process)
        async with session.get(f"http://{address}/healthz") as answer:
            assert answer.status == 200
        async with session.get(f"http://{address}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "it has not seen the Lease yet\n")
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
    assert process.returncode == 0
    assert "operator.stopped" in said.decode()
