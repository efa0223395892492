"""Cameras that want a password play; with a wrong one they say why. Neither password shows up anywhere."""

import os
from pathlib import Path
from typing import Literal

import pytest
from rigs.camera import Cameras
from rigs.manifests import camera, secret
from rigs.replay import Manners, Replay
from rigs.up import Runs
from rigs.viewer import Viewer, WhepError

# With what is reserved in URLs, in quoted strings and in lists of parameters.
PASSWORD = "kunci-Rahasia=9f27@:/?#[]&+%20, ;'~"
WRONG = "kunci-Salah=51c0"


@pytest.mark.parametrize("method", ["digest", "basic"])
async def test_right_password_plays(method: str, cameras: Cameras, up: Runs) -> None:
    source = cameras(auth=method, username="operator", password=PASSWORD)
    documents = camera("gate", source, secret="gate-login"), secret("gate-login", "operator", PASSWORD)
    async with up(*documents) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(15)
        assert PASSWORD not in run.output + await run.get("/api/v1/cameras") + await run.get("/metrics")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_nonces_that_end_are_followed(algorithm: Literal["MD5", "SHA-256"], up: Runs) -> None:
    """RFC 7616; each nonce is good for two requests, one session makes four and more."""
    manners = Manners(
        username="operator",
        password=PASSWORD,
        algorithm=algorithm,
        nonce_uses=2,
        session_seconds=4,
        lives_by="keepalive",
    )
    documents = secret("gate-login", "operator", PASSWORD)
    async with (
        Replay("plain", manners) as source,
        up(camera("gate", source.url, secret="gate-login"), documents) as run,
    ):
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            # For eight seconds: without a second keepalive, whose nonce has ended, the camera would have stopped.
            await viewer.watch(120, seconds=30)
        assert source.requests.count("PLAY") <= 2, "it was pulled once"


async def test_wrong_password_is_named_and_leaks_nowhere(cameras: Cameras, up: Runs) -> None:
    source = cameras(auth="digest", username="operator", password=PASSWORD)
    documents = camera("gate", source, secret="gate-login"), secret("gate-login", "operator", WRONG)
    async with up(*documents) as run:
        offline = await run.until("gate", "Offline", reason="Unauthorized")
        assert offline["message"], "says whose fault it is and who mends it"
        with pytest.raises(WhepError) as refused:
            async with Viewer(run, "gate"):
                pass
        assert refused.value.status == 409
        said = run.output + await run.get("/api/v1/cameras") + await run.get("/metrics") + refused.value.body
        assert WRONG not in said
        assert [path for path in _files(run.state) if WRONG.encode() in path.read_bytes()] == []
        run.write([documents[0], secret("gate-login", "operator", PASSWORD)])
        await run.until("gate", "Live", seconds=30)
        assert PASSWORD not in run.output
    assert source.stats().sessions_total == 1


def _files(folder: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names if not name.endswith(".sock")]
