"""The relay process under `pancar up`: started, restarted when it dies, ended with `up`, whatever ends that.

`Supervisor.run` is one of `up`'s tasks. What the relay writes goes to a log file of bounded size, its last words to the
terminal if it dies. Beside the relay that runs, a successor is kept loaded: Python and the relay's libraries take one
to three seconds to load, which viewers would wait for.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pancar_operator.access import write_private
from pancar_operator.authority import Enrolled
from pancar_operator.enrol import ProcessTokens
from pancar_operator.model import DEFAULT_NAMESPACE, Key
from pancar_operator.observe import Endpoint, Known
from pancar_relay.settings import Address, parse_address

from pancar_cli.relay_log import RelayLog
from pancar_cli.state import AUTHORITIES, CONTROL_SOCKET, ENROL_SOCKET

# Seconds from SIGTERM to SIGKILL; a relay says goodbye to its viewers and cameras meanwhile.
_END_SECONDS: Final = 5.0
# A relay that ran so long is restarted at once again.
_STEADY_SECONDS: Final = 60.0
_BACKOFF_MAX: Final = 30.0
# The successor loads when the relay itself has come up, so that it takes no time from that.
_SUCCESSOR_SECONDS: Final = 2.0
# A relay that dies so often before it attaches for the first time will not come up by itself.
_FIRST_ATTEMPTS: Final = 2

# PR_SET_PDEATHSIG: the kernel ends the relay when `up` dies, even by SIGKILL. Set in a process of its own that then
# becomes the relay, because a preexec_fn may deadlock beside gRPC's threads.
_LAUNCH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-m", "pancar_relay"])
"""


class RelayError(Exception):
    """The relay does not come up; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What `up` tells each relay process by its environment."""

    # With the operator's sockets and authorities, and the processes' tokens.
    folder: Path
    pool: Key
    http: Address
    media: Address
    media_addresses: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    turn: tuple[str, ...] = ()
    turn_secret: Path | None = None
    cors_origins: tuple[str, ...] = ()

    def environment(self, uid: str) -> dict[str, str]:
        pool = self.pool.name if self.pool.namespace == DEFAULT_NAMESPACE else str(self.pool)
        variables = {
            "PANCAR_RELAY_UID": uid,
            "PANCAR_POOL": pool,
            "PANCAR_CONTROL": f"unix:{self.folder / CONTROL_SOCKET}",
            "PANCAR_ENROL": f"unix:{self.folder / ENROL_SOCKET}",
            "PANCAR_CONTROL_AUTHORITIES": str(self.folder / AUTHORITIES),
            "PANCAR_TOKEN": str(self.token(uid)),
            "PANCAR_HTTP_LISTEN": str(self.http),
            "PANCAR_MEDIA_LISTEN": str(self.media),
            "PANCAR_MEDIA_ADDRESSES": ",".join(self.media_addresses),
            "PANCAR_TLS_CERTIFICATE": str(self.certificate or ""),
            "PANCAR_TLS_KEY": str(self.key or ""),
            "PANCAR_TURN_URLS": ",".join(self.turn),
            "PANCAR_TURN_SECRET": str(self.turn_secret or ""),
            "PANCAR_CORS_ORIGINS": ",".join(self.cors_origins),
            "PANCAR_LOG_FORMAT": "console",
            "PANCAR_STANDBY": "1",
            # Its successor takes over at once and is told all anew; nothing is kept or waited for.
            "PANCAR_RELAY_NAME": "",
            "PANCAR_STATE_DIR": "",
            "PANCAR_DRAIN_SECONDS": "",
        }
        return {**os.environ, **variables}

    def token(self, uid: str) -> Path:
        """The file of what proves the process to be this relay."""
        return self.folder / f"{uid}.token"

    def settled(self, endpoint: Endpoint) -> "RelaySettings":
        """The same with the ports the relay got, so that its successor is found at the same place."""
        port = urlsplit(endpoint.http_url).port or self.http.port
        media = parse_address(endpoint.media_addresses[0]).port if endpoint.media_addresses else self.media.port
        return replace(self, http=Address(self.http.host, port), media=Address(self.media.host, media))


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A relay process that has loaded itself and waits for a line on its standard input; it ends with that."""

    uid: str
    process: asyncio.subprocess.Process

    def start(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.write(b"\n")


class Supervisor:
    """Keeps one relay running until it is cancelled. `tell` gets a line for the terminal when it has to restart it."""

    def __init__(
        self, settings: RelaySettings, known: Known, tokens: ProcessTokens, log: RelayLog, tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._known = known
        self._tokens = tokens
        self._log = log
        self._tell = tell
        self.settled = False
        self._attached = asyncio.Event()
        self._successor: _Loaded | None = None

    async def run(self) -> None:
        """Raises RelayError for a relay that dies again and again before it ever attached."""
        try:
            await self._run()
        finally:
            if self._successor is not None:
                await _end(self._successor.process)
                self._disown(self._successor.uid)

    async def _run(self) -> None:
        deaths = 0
        while True:
            started = time.monotonic()
            code = await self._one()
            deaths = 1 if time.monotonic() - started > _STEADY_SECONDS else deaths + 1
            if not self.settled and deaths >= _FIRST_ATTEMPTS:
                raise RelayError(f"The relay does not start ({_ending(code)}):\n{self._log.last_words()}")
            wait = 0.0 if deaths == 1 else min(_BACKOFF_MAX, 2.0 ** (deaths - 2)) * random.uniform(0.5, 1)  # noqa: S311
            soon = "restarting it" if wait < 1 else f"restarting it in {wait:.0f} s"
            self._tell(f"The relay {_ending(code)}, {soon}. Its log: {self._log.path}")
            await asyncio.sleep(wait)

    def attached(self, endpoint: Endpoint) -> None:
        """A relay is up: from now on its ports are kept."""
        if not self.settled:
            self._settings = self._settings.settled(endpoint)
            self.settled = True
        self._attached.set()

    async def _one(self) -> int:
        """One process from start to end; its exit code, negative for a signal."""
        relay, self._successor = self._successor, None
        if relay is not None and relay.process.returncode is not None:
            self._disown(relay.uid)
            relay = None
        if relay is None:
            relay = await self._load()
        self._attached.clear()
        relay.start()
        reading = asyncio.create_task(self._log.follow(relay.process.stdout))
        preparing = asyncio.create_task(self._prepare())
        try:
            return await relay.process.wait()
        finally:
            preparing.cancel()
            if relay.process.returncode is None:
                await _end(relay.process)
            await reading
            self._disown(relay.uid)

    def _disown(self, uid: str) -> None:
        """The process is gone."""
        self._tokens.revoke(uid)
        self._settings.token(uid).unlink(missing_ok=True)
        self._known.forget(uid)

    async def _prepare(self) -> None:
        await self._attached.wait()
        await asyncio.sleep(_SUCCESSOR_SECONDS)
        self._successor = await self._load()

    async def _load(self) -> _Loaded:
        uid = str(uuid.uuid4())
        write_private(self._settings.token(uid), self._tokens.issue(Enrolled(uid, self._settings.pool)).encode())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._settings.environment(uid),
            # Ctrl-C goes to `up`, which ends the relay in good order.
            start_new_session=True,
        )
        return _Loaded(uid, process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
