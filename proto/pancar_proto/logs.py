"""Log set-up of every Pancar process: `configure` is called once by each composition root.

Events are structlog's (`structlog.get_logger().bind(camera=…)`); what libraries say through `logging` takes the same
way out. The last step of that way is `redact`, on the finished line, so that no key, nested value or traceback gets
round it. Camera URLs and tokens shall not be logged in the first place; this is the net under that rule.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, Literal, TextIO, cast

import structlog

Format = Literal["console", "json"]

_HIDDEN: Final = "***"
_SECRET_KEYS: Final = frozenset({"password", "token", "authorization", "cookie", "credentials", "code", "set-cookie"})
# Found by two needles, for a logfmt line is full of "=".
_PASSWORD: Final = re.compile(r"(?i)\b((?:[a-z0-9]+[_&?])?(?:password|passwd|pwd)=)[^\s&\"'_]+")
# Each with what a line must hold, in lower case, to be worth the search: most lines hold none of it, and the searches
# would cost more than all the rest of a log line (0.13 of 0.2 ms, of a join's CPU among others).
_PATTERNS: Final = (
    # User info of a camera URL; cameras' passwords may hold "/", "#" or "@" unescaped, so up to the last "@".
    ("://", re.compile(r"(?i)\b(rtsps?://)\S*@"), rf"\1{_HIDDEN}@"),
    ("://", re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#\"']*@"), rf"\1{_HIDDEN}@"),
    # Cameras that want their password in the path or query of the URL.
    ("passw", _PASSWORD, rf"\1{_HIDDEN}"),
    ("pwd=", _PASSWORD, rf"\1{_HIDDEN}"),
    ("bearer", re.compile(r"(?i)\b(bearer\s+)[a-z0-9._~+/=-]+"), rf"\1{_HIDDEN}"),
    # A JWT (RFC 7519): its header begins with {" in base64url.
    ("eyj", re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), _HIDDEN),
    # A one-time link.
    ("/enter#", re.compile(r"(/enter#)[\w-]+"), rf"\1{_HIDDEN}"),
)


def redact(text: str) -> str:
    """`text` without anything that looks like user info in a URL, a bearer token, a JWT or a one-time link's code."""
    lowered = text.lower()
    for needle, pattern, replacement in _PATTERNS:
        if needle in lowered:
            text = pattern.sub(replacement, text)
    return text


def configure(log_format: Format, *, level: str = "info", stream: TextIO | None = None) -> None:
    """Sends structlog's events and `logging`'s records to `stream` (standard error by default), one line each."""
    out = stream or sys.stderr
    rendered = [*_render(log_format), _redact_line]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_COMMON],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Straight to the stream: by way of `logging` an event would cost twice as much.
    structlog.configure(
        processors=[*_COMMON, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Unfailing(out))),
        cache_logger_on_first_use=False,
    )


class _Unfailing:
    """A stream whose reader may be gone: who logs has something better to do than to fail over it, as in `logging`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _render(log_format: Format) -> list[structlog.typing.Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer()]
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    # Into a file: five times cheaper to write, and as easy to search.
    return [structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])]


def _hide_secret_keys(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in _SECRET_KEYS.intersection(event):
        event[key] = _HIDDEN
    return event


def _redact_line(_logger: object, _method: str, line: Any) -> str:
    return redact(str(line))


_COMMON: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    _hide_secret_keys,
)
