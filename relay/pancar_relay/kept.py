"""What a relay must still know when its process is started anew: files that only its user reads, each whole or absent.

`enrol` keeps key and certificate here, `control` the last state it acknowledged, passwords of cameras included. There
is no default for the folder, for it must lie in memory: in a pod it ends with the pod.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import structlog

from pancar_relay.errors import SettingsError

log = structlog.get_logger()

_MAGIC = b"pancar-relay 1"


class Kept:
    """A folder of one relay's files. What another relay left there, or what is damaged, is removed at the first look.

    Raises SettingsError where nothing can be written there.
    """

    def __init__(self, folder: Path, relay_uid: str) -> None:
        self._folder = folder
        self._uid = relay_uid.encode()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"PANCAR_STATE_DIR cannot be made: {error}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SettingsError(f"PANCAR_STATE_DIR cannot be written to: {folder}")

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            whole = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.error("kept.unreadable", file=name, error=str(error))
            return None
        header, _, data = whole.partition(b"\n")
        if header != self._header(data):
            log.warning("kept.discarded", file=name)
            path.unlink(missing_ok=True)
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Where it cannot be written, the older one goes too: no word is better than one that was taken back."""
        path = self._folder / name
        new = path.with_name(f".{name}.new")
        try:
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._header(data) + b"\n" + data)
            new.replace(path)
        except OSError as error:
            log.error("kept.not_written", file=name, error=str(error))
            for left in (new, path):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)

    def _header(self, data: bytes) -> bytes:
        return b" ".join((_MAGIC, self._uid, hashlib.sha256(data).hexdigest().encode()))
