"""A watch that falls silent without ending is noticed: nothing on the way may have told us that it is dead."""

import asyncio
from pathlib import Path

from pancar_operator.api import CAMERAS, SILENCE_SECONDS, Api
from pancar_operator.reflector import Reflector
from rigs.hurried import run
from rigs.watching import Body, Watched
from structlog.testing import capture_logs


async def scenario(folder: Path) -> list[str]:
    """Names in the order they were told."""
    told: list[str] = []
    news = asyncio.Event()

    def put(body: Body) -> None:
        told.append(body["metadata"]["name"])
        news.set()

    async with Watched.serving(folder) as (watched, kubeconfig), Api.connect(kubeconfig) as api:
        watched.put("gate")
        following = asyncio.create_task(Reflector(api, CAMERAS, put=put, drop=lambda key, uid: None).run())
        await news.wait()
        news.clear()
        await asyncio.sleep(1)
        watched.silent = True
        watched.put("harbour")
        await asyncio.sleep(SILENCE_SECONDS / 2)
        assert not news.is_set()
        watched.silent = False
        await news.wait()
        following.cancel()
        return told


def test_a_watch_that_falls_silent_is_taken_up_again(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert run(20, scenario(tmp_path)) == ["gate", "harbour"]
    levels = {entry["event"]: entry["log_level"] for entry in logs}
    assert levels["watch.silent"] == "info"
    assert "watch.broken" not in levels
