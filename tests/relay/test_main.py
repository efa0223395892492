"""A relay process that cannot start says why, in one line, and ends."""

import datetime
import os
import socket
import subprocess
import sys
from pathlib import Path

from pancar_operator.authority import Authorities


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PANCAR_")} | settings
    command = [sys.executable, "-m", "pancar_relay"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


LEAST = {
    "PANCAR_RELAY_UID": "u",
    "PANCAR_CONTROL": "unix:/nowhere/control.sock",
    "PANCAR_ENROL": "unix:/nowhere/enrol.sock",
    # A file that is there; as authorities it is good for nothing.
    "PANCAR_CONTROL_AUTHORITIES": __file__,
    "PANCAR_TOKEN": __file__,
    "PANCAR_LOG_FORMAT": "json",
}


def test_a_setting_that_is_wrong() -> None:
    ended = start(**LEAST | {"PANCAR_CONTROL": "operator"})
    assert ended.returncode == 2
    assert ended.stderr.startswith("pancar relay: PANCAR_CONTROL is neither host:port nor unix:/path: 'operator'")
    assert len(ended.stderr.splitlines()) == 1


def test_authorities_that_are_none() -> None:
    ended = start(**LEAST | {"PANCAR_HTTP_LISTEN": "127.0.0.1:0"})
    assert ended.returncode == 1
    assert "PANCAR_CONTROL_AUTHORITIES cannot be used: it holds no certificate in PEM" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.crt"
    authorities.write_bytes(Authorities.new(datetime.datetime.now(datetime.UTC)).bundle)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start(
            **LEAST | {"PANCAR_HTTP_LISTEN": f"127.0.0.1:{port}", "PANCAR_CONTROL_AUTHORITIES": str(authorities)}
        )
    assert ended.returncode == 1
    assert "relay.not_started" in ended.stderr
    assert "Traceback" not in ended.stderr
