"""What the relay process writes, kept in a file of bounded size; `relay` feeds it."""

import asyncio
import collections
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from pancar_proto.logs import redact

_LOG_BYTES: Final = 5 * 1024 * 1024
_LAST_WORDS: Final = 5
_LINE_BYTES: Final = 65536


class RelayLog:
    """A log file of at most two times _LOG_BYTES, and the last lines of it."""

    def __init__(self, path: Path, echo: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._echo = echo
        self._tail: collections.deque[str] = collections.deque(maxlen=_LAST_WORDS)
        self._file = _open(path)

    def last_words(self) -> str:
        return "\n".join(self._tail) or "it said nothing"

    async def follow(self, stream: asyncio.StreamReader | None) -> None:
        """Writes all that comes until the stream ends."""
        rest = b""
        while stream is not None and (chunk := await stream.read(_LINE_BYTES)):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._write(line)
            if len(rest) > _LINE_BYTES:
                self._write(rest)
                rest = b""
        if rest:
            self._write(rest)

    def _write(self, line: bytes) -> None:
        text = redact(line.decode(errors="replace"))
        self._tail.append(text)
        if self._echo is not None:
            self._echo(text)
        if self._file.tell() > _LOG_BYTES:
            self._file.close()
            self.path.replace(self.path.with_suffix(".log.1"))
            self._file = _open(self.path)
        self._file.write(text + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _open(path: Path) -> TextIO:
    return open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))
