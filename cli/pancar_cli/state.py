"""The state folder of `pancar up` and what stands in it; `up`, `token`, `plan` and `why` open it.

signing-key.pem                 signs viewers' tokens          tls/    self-signed certificate and its key
links/<sha256 of a code>.json   one-time links                 relay.log
run/up.json                     what the running `pancar up` tells `pancar token`
run/facts.json                  what it tells `pancar plan` and `pancar why`
run/lock                        held by the running `pancar up`
run/control.sock, enrol.sock    ControlPlane.Attach and Enrolment.Enrol
run/ca.crt, run/*.token         by what a relay process knows the operator, and the operator it
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pancar_operator.access import Entry, write_private

from pancar_cli.facts import Facts

CONTROL_SOCKET: Final = "control.sock"
ENROL_SOCKET: Final = "enrol.sock"
AUTHORITIES: Final = "ca.crt"

# sizeof(sockaddr_un.sun_path) less its terminating zero.
_SOCKET_PATH_MAX: Final = 107


class StateError(Exception):
    """The state folder cannot be used; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Running:
    """What the `pancar up` of a state folder says of itself."""

    url: str
    # SHA-256 of the codes of the links it lets in, in hex.
    links: frozenset[str]


def default_folder() -> Path:
    """$XDG_STATE_HOME/pancar, ~/.local/state/pancar where that is not set."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "pancar"


class StateFolder:
    """Makes the folder where it is missing. Raises StateError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.run, self.path / "tls"):
                folder.mkdir(mode=0o700, exist_ok=True)
                # Nobody else is to knock at the sockets, or to read a token.
                folder.chmod(0o700)
        except OSError as error:
            raise StateError(f"The state folder {self.path} cannot be used: {error.strerror}.") from error

    def entry(self) -> Entry:
        try:
            return Entry(self.path)
        except OSError as error:
            raise StateError(f"The state folder {self.path} cannot be used: {error.strerror}.") from error
        except ValueError as error:
            raise StateError(f"The signing key does not load: {error}.") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one `pancar up` of this folder. Raises StateError where another one holds it."""
        with (self.run / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StateError(
                    f"Another pancar up is running with the state folder {self.path}. End it first, or give this one "
                    "a folder of its own with --state-dir."
                ) from None
            try:
                yield
            finally:
                for name in ("up.json", "facts.json"):
                    (self.run / name).unlink(missing_ok=True)

    def tell(self, running: Running) -> None:
        content = {"url": running.url, "links": sorted(running.links)}
        write_private(self.run / "up.json", json.dumps(content).encode())

    def tell_facts(self, facts: Facts) -> None:
        write_private(self.run / "facts.json", facts.as_json())

    def running(self) -> Running | None:
        """What the running `pancar up` told last; None where none runs."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if self._locked():
                told = json.loads((self.run / "up.json").read_bytes())
                return Running(told["url"], frozenset(told["links"]))
        return None

    def facts(self) -> Facts | None:
        """The same of what it knows of its cameras."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if self._locked():
                return Facts.from_json((self.run / "facts.json").read_bytes())
        return None

    def not_running(self) -> StateError:
        return StateError(
            f"No pancar up is running with the state folder {self.path}. Start it, or name its folder with --state-dir."
        )

    def _locked(self) -> bool:
        with (self.run / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @contextlib.contextmanager
    def sockets(self) -> Iterator[Path]:
        """The folder of what relays reach the operator by: the run folder, or a private one with a shorter name."""
        if len(os.fsencode(self.run / CONTROL_SOCKET)) > _SOCKET_PATH_MAX:
            folder = Path(tempfile.mkdtemp(prefix="pancar-"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return
        _sweep(self.run)
        try:
            yield self.run
        finally:
            _sweep(self.run)


def _sweep(folder: Path) -> None:
    """Of a run that was killed, too."""
    for path in (folder / CONTROL_SOCKET, folder / ENROL_SOCKET, folder / AUTHORITIES, *folder.glob("*.token")):
        path.unlink(missing_ok=True)
