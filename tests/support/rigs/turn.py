"""A TURN server (coturn) on this machine, with a user that does not change."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_USER, _PASSWORD = "viewer", "kata-sandi"
_START_SECONDS = 30.0


class Turn:
    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port

    def ice_servers(self, transport: str) -> list[dict[str, Any]]:
        """As RTCConfiguration has them; the viewer speaks to the server over `transport`, udp or tcp."""
        url = f"turn:{self._address}:{self._port}?transport={transport}"
        return [{"urls": [url], "username": _USER, "credential": _PASSWORD}]


def _free_port(address: str) -> int:
    """Of both transports; it is not held until the server has it, which asks for a number."""
    with socket.create_server((address, 0)) as taken, socket.socket(type=socket.SOCK_DGRAM) as too:
        port = int(taken.getsockname()[1])
        too.bind((address, port))
        return port


@contextmanager
def turning(address: str, folder: Path) -> Iterator[Turn]:
    """Listens for viewers, and relays for them, at the address."""
    if shutil.which("turnserver") is None:
        pytest.skip("coturn is missing: see tests/install-peers.sh")
    port = _free_port(address)
    log = folder / "turn.log"
    options = {
        "listening-ip": address,
        "relay-ip": address,
        "listening-port": port,
        "realm": "pancar",
        "user": f"{_USER}:{_PASSWORD}",
        "userdb": folder / "turn.db",
        "pidfile": folder / "turn.pid",
        "log-file": "stdout",
    }
    flags = ["-n", "--lt-cred-mech", "--fingerprint", "--no-tls", "--no-dtls", "--no-cli", "--verbose"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["turnserver", *flags, *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while "TCP listener opened" not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        yield Turn(address, port)
    finally:
        process.terminate()
        process.wait(10)
