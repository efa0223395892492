"""Chromium as a viewer: Debian's browser, driven by Playwright, looking at the wall as a person does."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pancar_cli.bench.wire.wire import Wire
from pancar_relay.wall.api import COOKIE
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright
from rigs import picture
from rigs.waiting import eventually

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The luma under the middle of each cell, as the decoder gave it, row by row; null before the first picture.
READ_CELLS = """
(video, [rows, cells]) => {
  if (video.readyState < 2 || !video.videoWidth) return null;
  const canvas = Object.assign(document.createElement("canvas"), {width: video.videoWidth, height: video.videoHeight});
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const luma = (x, y) => {
    const [r, g, b] = context.getImageData(Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data;
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return rows.map((y) => cells.map((x) => luma(x, y)));
}
"""
DECODED = "video => video.getVideoPlaybackQuality().totalVideoFrames"


class Tile:
    """One camera's tile on the wall."""

    def __init__(self, page: Page, camera: str, namespace: str) -> None:
        self.player: Locator = page.locator(f'pancar-player[camera="{namespace}/{camera}"]')
        self.video: Locator = self.player.locator("video")

    async def state(self) -> str | None:
        if await self.player.count() == 0:
            return None
        return await self.player.get_attribute("state")

    async def until(self, state: str, *, seconds: float = 15.0) -> None:
        async def reached() -> bool:
            return await self.state() == state

        await eventually(reached, f"the tile is {state}", seconds=seconds)

    async def decoded(self) -> int:
        """Frames decoded so far by the video element's present source."""
        frames: int = await self.video.evaluate(DECODED)
        return frames

    async def seen(self) -> picture.Seen | None:
        """What the picture that the browser shows says of itself."""
        rows = [(4.5 + row) / 12 for row in range(picture.ROWS)]
        cells = [(cell + 0.5) / picture.CELLS for cell in range(picture.CELLS)]
        luma: list[list[float]] | None = await self.video.evaluate(READ_CELLS, [rows, cells])
        if luma is None:
            return None
        return picture.read(lambda x, y: luma[int(y * 12) - 4][int(x * picture.CELLS)])

    async def moves(self, *, frames: int = 10, seconds: float = 10.0) -> picture.Seen:
        """Waits until the browser has decoded that many more frames and shows a later one; returns the one it shows."""
        decoded = await self.decoded()
        first = await eventually(self.seen, "the picture is recognised", seconds=seconds)

        async def later() -> picture.Seen | None:
            now = await self.seen()
            moved = now is not None and now.frame >= first.frame + frames
            return now if moved and await self.decoded() >= decoded + frames else None

        return await eventually(later, "the picture moves", seconds=seconds)

    async def shows_later_than(self, frame: int, *, seconds: float) -> None:
        """Waits until the tile is live with a picture painted after that frame."""

        async def later() -> bool:
            now = await self.seen()
            return now is not None and now.frame > frame and await self.state() == "live"

        await eventually(later, f"the tile is live beyond frame {frame}", seconds=seconds)

    async def text(self) -> str:
        """All that the tile says in words, in its shadow tree and out of it."""
        said: str = await self.player.evaluate("e => (e.shadowRoot ?? e).textContent + ' ' + e.textContent")
        return " ".join(said.split())


class Screen:
    """A browser with a profile of its own, and what its pages have complained of."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def tile(self, camera: str, namespace: str = "default") -> Tile:
        return Tile(self.page, camera, namespace)

    async def allow(self, base: str, token: str) -> None:
        """Lets it see what the token allows, as if a link had been exchanged for that."""
        await self.context.add_cookies([{"name": COOKIE, "value": token, "url": base}])

    async def enter(self, link: str) -> None:
        """Follows a printed link up to the wall."""
        await self.page.goto(link)
        await self.page.wait_for_selector("pancar-player", state="attached")

    async def shot(self, name: str) -> None:
        """Keeps a picture of the page where SCREENSHOTS names a folder, for people to look at."""
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            await self.page.screenshot(path=Path(folder) / f"{name}.png")


async def _new_screen(browser: Browser) -> Screen:
    # Relays of a cluster are certified by the operator, in whom no browser trusts by itself.
    context = await browser.new_context(viewport={"width": 1280, "height": 720}, ignore_https_errors=True)
    return Screen(context, await context.new_page())


@asynccontextmanager
async def _browser(executable: Path) -> AsyncIterator[Screen]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        made = await _new_screen(browser)
        yield made
        await asyncio.wait_for(browser.close(), 20)
        assert made.complaints == []


def _require_chromium() -> None:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: see tests/install-peers.sh")


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    _require_chromium()
    async with _browser(CHROMIUM) as made:
        yield made


@pytest.fixture
async def far_screen(wire: Wire, tmp_path: Path) -> AsyncIterator[Screen]:
    """A browser at the far end of the wire."""
    _require_chromium()
    script = tmp_path / "far-chromium"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(wire.command)} {CHROMIUM} "$@"\n')
    script.chmod(0o700)
    async with _browser(script) as made:
        yield made
