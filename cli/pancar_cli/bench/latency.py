"""`latency`: from the moment that is drawn into a camera's picture to that picture on the screen of a browser.

The camera encodes as it goes, and tells how long that took it, which is taken off: what is left is the way through
RTSP, relay and WebRTC, told apart, and the browser's decoder and compositor. All read one machine's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pancar_relay.wall.api import COOKIE

from pancar_cli.bench.figures import BenchError, Figure, percentile
from pancar_cli.bench.rig import Cameras, Rig, rig
from pancar_cli.demo import timecode

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

_SETTLE_S = 3.0
_LIVE_TIMEOUT_MS = 20_000
_FLAGS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
# For each frame that the browser presents: the luma in the middle of each of the timecode's cells, when its last packet
# had come to the browser, and when it was on the screen by the latest of what the browser says; in milliseconds of the
# wall clock. Date.now() is cut to whole ones: the greatest difference is the true one.
_WATCH = """
(video, [seconds, cells]) => new Promise((resolve) => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const frames = [];
  const ends = performance.now() + seconds * 1000;
  let epoch = 0;
  const presented = (now, metadata) => {
    epoch = Math.max(epoch, Date.now() - performance.now());
    const shown = Math.max(now, metadata.presentationTime, metadata.expectedDisplayTime);
    [canvas.width, canvas.height] = [video.videoWidth, 1];
    context.drawImage(video, 0, video.videoHeight - 2, canvas.width, 1, 0, 0, canvas.width, 1);
    const {data} = context.getImageData(0, 0, canvas.width, 1);
    const luma = Array.from({length: cells}, (_, cell) => {
      const at = 4 * Math.floor((cell + 0.5) / cells * canvas.width);
      return 16 + (0.2126 * data[at] + 0.7152 * data[at + 1] + 0.0722 * data[at + 2]) * 219 / 255;
    });
    frames.push([luma, metadata.receiveTime, shown]);
    if (performance.now() < ends) video.requestVideoFrameCallback(presented);
    else resolve(frames.map(([luma, received, shown]) => [luma, received + epoch, shown + epoch]));
  };
  video.requestVideoFrameCallback(presented);
})
"""


async def latency(seconds: float) -> list[Figure]:
    """Raises BenchError, also where there is no browser."""
    async with _page() as page, rig(Cameras(clock=True)) as ready:
        video = await _wall(page, ready)
        await asyncio.sleep(_SETTLE_S)
        try:
            async with asyncio.timeout(2 * seconds + 10):
                frames: list[tuple[list[float], float, float]] = await video.evaluate(_WATCH, [seconds, timecode.CELLS])
        except TimeoutError as error:
            raise BenchError("the browser stopped presenting frames") from error
        published = {slot % timecode.SPAN: (slot, at) for slot, at in ready.source.published().items()}
    glass, arrivals, encoder = [], [], []
    for luma, received, shown in frames:
        moment = timecode.read([round(value) for value in luma])
        if moment in published:
            captured, at = published[moment]
            encoder.append(at * 1000 - captured)
            arrivals.append(received - at * 1000)
            glass.append(shown - at * 1000)
    if len(glass) < len(frames) / 2:
        raise BenchError(f"of {len(frames)} frames that were shown the clock of only {len(glass)} could be read")
    conditions: dict[str, float | int | str] = {
        "frames": len(glass),
        "fps": ready.cameras.fps,
        "gop_s": ready.cameras.gop_s,
        "seconds": seconds,
        "encoder_ms": round(percentile(encoder, 50), 1),
    }
    return [
        Figure("latency.received_ms_p50", percentile(arrivals, 50), "ms", conditions),
        Figure("latency.received_ms_p95", percentile(arrivals, 95), "ms", conditions),
        Figure("latency.glass_ms_p50", percentile(glass, 50), "ms", conditions),
        Figure("latency.glass_ms_p95", percentile(glass, 95), "ms", conditions),
    ]


async def _wall(page: Page, ready: Rig) -> Locator:
    """The video of the one tile on the wall, live."""
    await page.context.add_cookies([{"name": COOKIE, "value": ready.relay.token, "url": ready.relay.base_url}])
    await page.goto(ready.relay.base_url + "/")
    await page.wait_for_selector('pancar-player[state="live"]', timeout=_LIVE_TIMEOUT_MS)
    return page.locator("pancar-player video")


@contextlib.asynccontextmanager
async def _page() -> AsyncIterator[Page]:
    """A page in a browser of its own. Raises BenchError where there is none, and for what goes wrong in it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise BenchError("it takes Playwright, which the extra [dev] brings: pip install playwright") from None
    if chromium is None:
        raise BenchError("it takes Chromium, which is not installed (apt-get install chromium)")
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            try:
                yield await browser.new_page(viewport={"width": 1280, "height": 720})
            finally:
                await browser.close()
    except Error as error:
        raise BenchError(f"the browser: {error.message}") from error
