"""A relay process that cannot start says why, in one line, and ends."""

import os
import socket
import subprocess
import sys


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PANCAR_")} | settings
    command = [sys.executable, "-m", "pancar_relay"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


LEAST = {"PANCAR_RELAY_UID": "u", "PANCAR_CONTROL": "unix:/nowhere/control.sock", "PANCAR_LOG_FORMAT": "json"}


def test_a_setting_that_is_wrong() -> None:
    ended = start(**LEAST | {"PANCAR_CONTROL": "operator"})
    assert ended.returncode == 2
    assert ended.stderr.startswith("pancar relay: PANCAR_CONTROL is neither host:port nor unix:/path: 'operator'")
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = start(**LEAST | {"PANCAR_HTTP_LISTEN": f"127.0.0.1:{taken.getsockname()[1]}"})
    assert ended.returncode == 1
    assert "relay.not_started" in ended.stderr
    assert "Traceback" not in ended.stderr
