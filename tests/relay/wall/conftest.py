"""The wall's modules in the browser that runs them, straight from their files: no relay, no camera, no server."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from pancar_relay.wall.pages import STATIC
from playwright.sync_api import Page, Route, sync_playwright
from rigs.chromium import CHROMIUM, FLAGS

# Names that lead nowhere (RFC 6761): the browser asks no network for them.
ORIGIN = "http://wall.test"
MODULES = ["backoff", "frames", "iceservers", "joins", "layers", "layout", "verdict", "words"]
LOAD = """async ([names, argument]) => {
    const loaded = await Promise.all(names.map((name) => import(`/wall/${name}.js`)));
    const modules = Object.fromEntries(names.map((name, index) => [name, loaded[index]]));
    BODY
}"""


def _serve(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ORIGIN}/wall/")
    if name in {f"{module}.js" for module in MODULES}:
        route.fulfill(path=STATIC / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")


class _Browser:
    """One page, driven from a thread of its own: Playwright's loop would be in the way of asynchronous tests."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._open = ExitStack()
        self._page = self._thread.submit(self._start).result()

    def _start(self) -> Page:
        playwright = self._open.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        self._open.callback(browser.close)
        page = browser.new_page()
        page.route(f"{ORIGIN}/**", _serve)
        page.goto(ORIGIN)
        return page

    def run(self, body: str, argument: object = None) -> Any:
        script = LOAD.replace("BODY", body)
        return self._thread.submit(self._page.evaluate, script, [MODULES, argument]).result()

    def close(self) -> None:
        self._thread.submit(self._open.close).result()
        self._thread.shutdown()


@pytest.fixture(scope="session")
def script() -> Iterator[Callable[..., Any]]:
    """Runs the body of an async function of `modules` (by name, as in modules.layout) and `argument` in the page."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: see tests/install-peers.sh")
    browser = _Browser()
    yield browser.run
    browser.close()
