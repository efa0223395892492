"""Nobody enters without a link, a link is good for one exchange, and what it is exchanged for no script can read."""

from playwright.async_api import Page
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs


async def test_closed_until_a_link_is_exchanged(cameras: Cameras, up: Runs, screen: Screen) -> None:
    async with up(camera("gate", cameras(number=41))) as run:
        refused = await screen.page.goto(run.base + "/")
        assert refused is not None
        assert refused.status == 401
        assert await screen.page.locator("pancar-player").count() == 0
        await screen.shot("entry-refused")

        await screen.enter(run.link)
        await screen.tile("gate").until("live")
        (cookie,) = await screen.context.cookies()
        assert cookie["name"] == "pancar"
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert await screen.page.evaluate("document.cookie") == ""

        await screen.page.goto(run.base + "/")
        await screen.tile("gate").until("live")

        await screen.context.clear_cookies()
        assert await _exchange(screen.page, run.link) == 403
        await screen.shot("entry-used-link")
        again = await screen.page.goto(run.base + "/")
        assert again is not None
        assert again.status == 401
        assert run.link.partition("#")[2] not in run.output.replace(run.link, "")


async def _exchange(page: Page, link: str) -> int:
    async with page.expect_response("**/api/v1/session") as exchanged:
        await page.goto(link)
    return (await exchanged.value).status
