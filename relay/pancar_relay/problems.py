"""Errors of the HTTP side as problem documents (RFC 9457): `HttpError` is raised by handlers, `web` turns it, and
aiohttp's own errors, into answers."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from pancar_relay.errors import RelayError

CONTENT_TYPE = "application/problem+json"


class HttpError(RelayError):
    """An answer other than success. `extensions` are further members of the document, those that are None left out."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: str | None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = {name: value for name, value in extensions.items() if value is not None}

    def response(self) -> web.Response:
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.extensions,
        }
        return web.Response(
            status=self.status, text=json.dumps(document), content_type=CONTENT_TYPE, headers=self.headers
        )


def retry_after(seconds: float) -> dict[str, str]:
    """The header, in whole seconds upwards (RFC 9110, 10.2.3)."""
    return {"Retry-After": str(max(1, -int(-seconds // 1)))}
