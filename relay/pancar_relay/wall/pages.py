"""The wall's files: its page, its modules, and the two small pages that need no right. Served by `web`."""

import base64
import hashlib
import re
from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent / "static"
POLICY = {
    "default-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "object-src": "'none'",
}
_INLINE = re.compile(r"<(script|style)\b[^>]*>(.*?)</\1>", re.DOTALL)


class Page:
    """An HTML file and the Content-Security-Policy it is served with."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text()
        self._policy = content_security_policy(self._text)

    def response(self, status: int = 200) -> web.Response:
        return web.Response(
            status=status,
            text=self._text,
            content_type="text/html",
            headers={"Content-Security-Policy": self._policy, "Cache-Control": "no-store"},
        )


class Pages:
    def __init__(self) -> None:
        self._index = Page(STATIC / "index.html")
        self._enter = Page(STATIC / "enter.html")
        self.denied = Page(STATIC / "denied.html")

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/", self._get_index),
            web.get("/enter", self._get_enter),
            web.static("/wall", STATIC),
        ]

    async def _get_index(self, _request: web.Request) -> web.Response:
        return self._index.response()

    async def _get_enter(self, _request: web.Request) -> web.Response:
        return self._enter.response()


def content_security_policy(html: str = "") -> str:
    """Nothing but what this relay serves, and exactly the inline scripts and styles of `html` (CSP 3, 2.3.1): the two
    pages without a right must bring theirs along, for every further file wants one."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, body in _INLINE.findall(html):
        if body.strip():
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            hashes[kind].append(f"'sha256-{digest}'")
    inline = {f"{kind}-src": " ".join(["'self'", *found]) for kind, found in hashes.items() if found}
    return "; ".join(f"{name} {value}" for name, value in (POLICY | inline).items())
