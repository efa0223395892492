"""`pancar token` as a process."""

import subprocess
import time
from pathlib import Path

import jwt
import pytest
from pancar_operator.access import AUDIENCE, ISSUER, Entry
from rigs.up import PANCAR


def pancar(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PANCAR, "token", *arguments], capture_output=True, text=True, check=False)


def claims(state: Path, token: str) -> dict[str, object]:
    (key,) = Entry(state).access().keys
    decoded: dict[str, object] = jwt.decode(token, key.pem, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
    return decoded


def test_a_token_needs_no_running_pancar_and_is_all_of_the_output(tmp_path: Path) -> None:
    done = pancar("--state-dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = claims(tmp_path, done.stdout.strip())
    assert (found["cameras"], found["scope"]) == (["*"], "watch")
    assert found["exp"] == found["iat"] + 12 * 3600  # type: ignore[operator]


def test_a_token_is_bounded_as_asked(tmp_path: Path) -> None:
    bounds = (
        "--camera",
        "kota/*",
        "--camera",
        "desa/gate",
        "--ttl",
        "30m",
        "--subject",
        "police",
        "--scope",
        "metrics",
    )
    done = pancar("--state-dir", tmp_path, "--scope", "metrics", *bounds)
    found = claims(tmp_path, done.stdout.strip())
    assert (found["cameras"], found["scope"], found["sub"]) == (["kota/*", "desa/gate"], "metrics", "police")
    assert 1790 < int(str(found["exp"])) - time.time() <= 1800


@pytest.mark.parametrize(
    ("option", "value"), [("--ttl", "0h"), ("--ttl", "soon"), ("--ttl", "9999d"), ("--scope", "admin")]
)
def test_wrong_bounds_are_refused(tmp_path: Path, option: str, value: str) -> None:
    done = pancar("--state-dir", tmp_path, option, value)
    assert (done.returncode, done.stdout) == (2, "")
    assert option in done.stderr


def test_a_link_needs_a_running_pancar(tmp_path: Path) -> None:
    done = pancar("--state-dir", tmp_path, "--link")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No pancar up is running" in done.stderr
    assert not list(tmp_path.rglob("*.json")), "no link lies in wait"
