"""Tells when manifest files or folders were edited; `up` iterates `edits`.

Folders are watched, not files, because editors replace files by renaming. Every five seconds the files are looked at
without being told, for network file systems and for folders that were removed and made anew.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final

from pancar_operator.manifests import ManifestError, files
from watchfiles import awatch

_LOOK_MS: Final = 5000
_QUIET_MS: Final = 100

_Fingerprint = tuple[tuple[str, int, int, int], ...]


async def edits(paths: Sequence[Path]) -> AsyncIterator[None]:
    """Yields after each change of what the paths hold, once the writing has come to rest."""
    seen = fingerprint(paths)
    while True:
        folders = _folders(paths)
        async for _ in awatch(*folders, recursive=False, step=_QUIET_MS, rust_timeout=_LOOK_MS, yield_on_timeout=True):
            now = fingerprint(paths)
            if now != seen:
                seen = now
                yield
            if _folders(paths) != folders:
                break
        # All folders gone: nothing to watch until they are back.
        await asyncio.sleep(0 if _folders(paths) else _LOOK_MS / 1000)


def fingerprint(paths: Iterable[Path]) -> _Fingerprint:
    """Changes whenever a file is written, replaced, added or removed; empty where a path is not there."""
    try:
        found = files(paths)
    except ManifestError:
        return ()
    marks: list[tuple[str, int, int, int]] = []
    for file in found:
        try:
            stat = file.stat()
        except OSError:
            continue
        marks.append((str(file), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(marks)


def _folders(paths: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            found.add(path.absolute().parent)
            # Behind a symbolic link (a mounted ConfigMap) the file changes elsewhere.
            found.add(path.resolve().parent)
            continue
        found.add(path)
        found.update(
            folder
            for folder in path.rglob("*")
            if folder.is_dir() and not any(part.startswith(".") for part in folder.relative_to(path).parts)
        )
    return {folder for folder in found if folder.is_dir()}
