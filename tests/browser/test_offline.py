"""A tile without pictures names the cause, and who mends it or why it is so."""

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera, secret
from rigs.up import Runs

PASSWORD = "kunci-Salah=77aa"


async def test_wrong_password_is_told_on_the_tile(cameras: Cameras, up: Runs, screen: Screen) -> None:
    locked, playing = cameras(auth="digest", username="operator", password="right", number=51), cameras(number=52)
    documents = [
        camera("locked", locked, secret="login"),
        secret("login", "operator", PASSWORD),
        camera("playing", playing),
        camera("paused", playing, paused={"reason": "A family asked for their privacy."}),
    ]
    async with up(*documents) as run:
        offline = await run.until("locked", "Offline", reason="Unauthorized")
        await screen.enter(run.link)
        tile = screen.tile("locked")
        await tile.until("offline")
        assert offline["message"] in await tile.text()
        assert "A family asked for their privacy." in await screen.tile("paused").text()
        await screen.tile("playing").until("live")
        assert PASSWORD not in await screen.page.content()
        await screen.shot("offline")
