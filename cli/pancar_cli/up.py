"""`pancar up`: Pancar on one machine. The operator's core in this process, one relay in a process of its own.

`command` is the command line's end; `Up` owns everything that runs and takes it down in order. The demo runs `Up` too.
"""

import asyncio
import contextlib
import datetime
import shlex
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer
from pancar_operator.access import DAY, Right, write_private
from pancar_operator.authority import Authorities, Issuer
from pancar_operator.control import ControlPlane
from pancar_operator.enrol import Enrolment, ProcessTokens
from pancar_operator.manifests import ManifestError, load
from pancar_operator.model import Manifests
from pancar_operator.observe import Known
from pancar_operator.plan import pool_of
from pancar_operator.reconcile import Reconciler, Round
from pancar_proto import logs
from pancar_relay.settings import Address, cors, host_addresses, ice_servers, parse_address
from rich.console import Console
from watchfiles import awatch

from pancar_cli.certificate import Certificate, given, obtain
from pancar_cli.facts import Facts, Journal
from pancar_cli.relay import RelayError, RelaySettings, Supervisor
from pancar_cli.relay_log import RelayLog
from pancar_cli.screen import Screen
from pancar_cli.state import (
    AUTHORITIES,
    CONTROL_SOCKET,
    ENROL_SOCKET,
    Running,
    StateError,
    StateFolder,
    default_folder,
)
from pancar_cli.watch import edits

OK: Final = 0
FAILED: Final = 1
REFUSED: Final = 2

# How long the cookie lasts that the printed link is exchanged for.
_WALL: Final = Right(subject="wall", lifetime=7 * DAY)
_FLUSH_SECONDS: Final = 0.5
# An editor may have removed a file a moment before it writes the new one.
_SECOND_LOOK_SECONDS: Final = 0.3
_SERVER_GRACE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    state: Path = field(default_factory=default_folder)
    http: Address = field(default_factory=lambda: Address("127.0.0.1", 8080))
    media: Address = field(default_factory=lambda: Address("127.0.0.1", 0))
    media_addresses: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    turn: tuple[str, ...] = ()
    turn_secret: Path | None = None
    cors_origins: tuple[str, ...] = ()
    verbose: bool = False


class Up:
    """One run of Pancar on this machine, from `run` to its end.

    Two tasks make things so (reconcile, relay), two listen (manifests, links), two tell (terminal, state folder); the
    first one to fail ends all, as `stop` does.
    """

    def __init__(self, options: Options, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self._known = Known(time.monotonic)
        self._journal = Journal(_now)
        self._stopping = asyncio.Event()
        self._told: Running | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Raises ManifestError, StateError, RelayError, or OSError where a port or certificate cannot be had."""
        manifests = load(self._options.paths)
        state = StateFolder(self._options.state)
        with state.lock():
            certificate = _certificate(self._options, state)
            _require_free(self._options.http)
            self._announce(manifests, certificate)
            self._declare(manifests)
            with state.sockets() as folder, contextlib.closing(self._log(state)) as log:
                await self._serve(state, folder, certificate, log)

    async def _serve(self, state: StateFolder, folder: Path, certificate: Certificate | None, log: RelayLog) -> None:
        entry = state.entry()
        code = entry.add_link(_WALL)
        self._known.admit(entry.access())

        def link_used(digest: bytes) -> None:
            entry.forget_link(digest)
            self._known.admit(entry.access())

        def note(told: Round) -> None:
            if told.transitions:
                self._screen.transitions(told.transitions)
                self._journal.transitions(told.transitions)
                self._journal.assignments(told.plan.assignments)

        # A new run of `up` is a new leader.
        control = ControlPlane(self._known, term=time.time_ns() // 1_000_000, link_used=link_used)
        reconciler = Reconciler(self._known, control, note)
        tokens = ProcessTokens()
        settings = self._relay_settings(folder, certificate)
        supervisor = Supervisor(settings, self._known, tokens, log, self._screen.trouble)
        async with _listening(folder, control, tokens):
            await self._until_stopped(
                reconciler.run(),
                supervisor.run(),
                self._follow_manifests(),
                _each(_changes(entry.links_folder), lambda: self._known.admit(entry.access())),
                self._watch_relay(state, supervisor, code),
                self._tell_facts(state, reconciler),
            )

    async def _until_stopped(self, *coroutines: Coroutine[None, None, object]) -> None:
        """Runs all until `stop` or until one of them ends, which none does but by failing; then ends all."""
        tasks = [asyncio.create_task(coroutine) for coroutine in (self._stopping.wait(), *coroutines)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _follow_manifests(self) -> None:
        """Edits take effect as a whole; a wrong one changes nothing."""
        last = ""
        async for _ in edits(self._options.paths):
            try:
                manifests = await self._load_settled()
            except ManifestError as error:
                if str(error) != last:
                    last = str(error)
                    self._screen.trouble(f"{error}\nNothing was changed; what ran keeps running.")
                continue
            before = dict(self._known.placements)
            self._declare(manifests)
            after = self._known.placements
            added, removed = len(after.keys() - before.keys()), len(before.keys() - after.keys())
            changed = sum(1 for key in after.keys() & before.keys() if after[key] is not before[key])
            self._screen.say(f"Manifests read. Cameras added: {added}, changed: {changed}, removed: {removed}.")
            last = ""

    def _declare(self, manifests: Manifests) -> None:
        self._known.declare(manifests)
        served = self._known.default_pool
        cameras, pools = manifests.cameras, manifests.pools
        others = [str(key) for key, camera in cameras.items() if pool_of(camera, served, pools) != served]
        if others:
            named = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            self._screen.trouble(
                f"The relay of this machine serves RelayPool {served}; what names another one in spec.poolRef is not "
                f"pulled: {named} ({len(others)} in all)."
            )

    async def _load_settled(self) -> Manifests:
        try:
            return await asyncio.to_thread(load, self._options.paths)
        except ManifestError:
            await asyncio.sleep(_SECOND_LOOK_SECONDS)
            return await asyncio.to_thread(load, self._options.paths)

    async def _watch_relay(self, state: StateFolder, supervisor: Supervisor, code: str) -> None:
        """Keeps the relay's ports, prints the link once it is good, tells `pancar token` where the wall is."""
        linked = False
        while True:
            await asyncio.sleep(_FLUSH_SECONDS / 5 if not linked else _FLUSH_SECONDS)
            for known in list(self._known.relays.values()):
                if known.access is None or known.detached_at is not None:
                    continue
                supervisor.attached(known.endpoint)
                running = Running(known.endpoint.http_url, frozenset(x.code_sha256.hex() for x in known.access.links))
                if running != self._told:
                    self._told = running
                    state.tell(running)
                if not linked:
                    linked = True
                    self._screen.link("Wall", f"{known.endpoint.http_url}/enter#{code}")
                    self._screen.say("The link opens the wall in one browser, within 15 minutes; for another one:")
                    self._screen.say(f"  pancar token --link{self._state_option()}", style="dim")
            self._screen.flush()

    async def _tell_facts(self, state: StateFolder, reconciler: Reconciler) -> None:
        """Keeps `pancar why` and `pancar plan` informed."""
        told: Facts | None = None
        while True:
            # A camera may have moved without a change of its conditions.
            self._journal.assignments(reconciler.plan.assignments)
            facts = self._journal.facts(self._known)
            if facts != told:
                told = facts
                state.tell_facts(facts)
            await asyncio.sleep(_FLUSH_SECONDS)

    def _state_option(self) -> str:
        state = self._options.state
        return "" if state == default_folder() else f" --state-dir {shlex.quote(str(state))}"

    def _relay_settings(self, folder: Path, certificate: Certificate | None) -> RelaySettings:
        options = self._options
        return RelaySettings(
            folder=folder,
            pool=self._known.default_pool,
            http=options.http,
            media=options.media,
            media_addresses=options.media_addresses,
            certificate=certificate.certificate if certificate else None,
            key=certificate.key if certificate else None,
            turn=options.turn,
            turn_secret=options.turn_secret,
            cors_origins=options.cors_origins,
        )

    def _announce(self, manifests: Manifests, certificate: Certificate | None) -> None:
        count = len(manifests.cameras)
        what = ", ".join(str(path) for path in self._options.paths)
        self._screen.say(
            f"Pancar {version('pancar')}: {count} camera{'' if count == 1 else 's'} in {what}", style="bold"
        )
        if certificate is not None and certificate.self_signed:
            self._screen.say("Browsers will warn of the self-signed certificate once. Its SHA-256 fingerprint:")
            self._screen.say(f"  {certificate.fingerprint}")

    def _log(self, state: StateFolder) -> RelayLog:
        echo: Callable[[str], None] | None = None
        if self._options.verbose:
            echo = lambda line: self._screen.say(line, style="dim")  # noqa: E731
        return RelayLog(state.path / "relay.log", echo)


@contextlib.asynccontextmanager
async def _listening(folder: Path, control: ControlPlane, tokens: ProcessTokens) -> AsyncIterator[None]:
    """Serves relays of this machine, under an authority that lives as long as this run, as they do."""
    issuer = Issuer(Authorities.new(_now()), _now)
    write_private(folder / AUTHORITIES, issuer.bundle)
    servers = [
        control.listen(f"unix:{folder / CONTROL_SOCKET}", issuer.current)[0],
        Enrolment(issuer, tokens.verify).listen(f"unix:{folder / ENROL_SOCKET}")[0],
    ]
    for server in servers:
        await server.start()
    try:
        yield
    finally:
        await asyncio.gather(*(server.stop(_SERVER_GRACE_SECONDS) for server in servers))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


async def _changes(folder: Path) -> AsyncIterator[None]:
    async for _ in awatch(folder, recursive=False, step=50, debounce=100):
        yield


async def _each(changes: AsyncIterator[None], act: Callable[[], None]) -> None:
    async for _ in changes:
        act()


def _certificate(options: Options, state: StateFolder) -> Certificate | None:
    if options.certificate is not None and options.key is not None:
        return given(options.certificate, options.key)
    if options.http.loopback:
        return None
    addresses = host_addresses(options.http.host) if options.http.wildcard else (options.http.host,)
    return obtain(state.path / "tls", addresses, datetime.datetime.now(datetime.UTC))


def _require_free(address: Address) -> None:
    """Raises OSError where nobody could listen there; the relay would fail later and less clearly."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise OSError(f"Nothing can listen on {address}: {error.strerror}. Choose another with --listen.") from None


async def _run(options: Options, screen: Screen) -> None:
    up = Up(options, screen)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, up.stop)
    await up.run()


def run(options: Options) -> int:
    """Runs until a signal; says on the terminal what is wrong, and returns the exit code."""
    screen = Screen(Console(highlight=False, markup=False))
    errors = Screen(Console(highlight=False, markup=False, stderr=True))
    logs.configure("console", level="info" if options.verbose else "warning")
    try:
        asyncio.run(_run(options, screen))
    except ManifestError as error:
        errors.trouble(str(error))
        return REFUSED
    except (StateError, RelayError, OSError, ValueError) as error:
        errors.trouble(str(error))
        return FAILED
    return OK


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Manifest files, or folders of them.")],
    listen: Annotated[
        str, typer.Option(help="Address and port of the wall; port 0 takes any free one. HTTPS beyond loopback.")
    ] = "127.0.0.1:8080",
    media_listen: Annotated[
        str | None, typer.Option(help="Address and port of the pictures, UDP and TCP; by default the wall's, any port.")
    ] = None,
    media_address: Annotated[
        list[str] | None,
        typer.Option(help="Address at which viewers reach this machine, where it does not know it (NAT). Repeatable."),
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder for keys, links and logs.")] = None,
    cert: Annotated[Path | None, typer.Option(help="TLS certificate (PEM) to serve HTTPS with.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    turn: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="STUN or TURN server that viewers are told of, like turn:host. Repeatable."),
    ] = None,
    turn_secret: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The secret shared with the TURN servers.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Other origin whose pages may play by WHEP, or *. Repeatable."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the relay logs.")] = False,
) -> None:
    """Run Pancar on this machine over camera manifests; Ctrl-C ends it.

    The files are watched: cameras are added, changed and removed as they are edited.
    """
    if (cert is None) != (key is None):
        raise typer.BadParameter("--cert and --key go together")
    _require_sound("--turn, --turn-secret", lambda: ice_servers(turn or (), turn_secret))
    _require_sound("--cors-origin", lambda: cors(cors_origin or ()))
    http = _address(listen, "--listen")
    media = _address(media_listen, "--media-listen") if media_listen else Address(http.host, 0)
    options = Options(
        paths=tuple(files),
        state=state_dir or default_folder(),
        http=http,
        media=media,
        media_addresses=tuple(media_address or ()),
        certificate=cert,
        key=key,
        turn=tuple(turn or ()),
        turn_secret=turn_secret.absolute() if turn_secret else None,
        cors_origins=tuple(cors_origin or ()),
        verbose=verbose,
    )
    sys.exit(run(options))


def _require_sound(options: str, parse: Callable[[], object]) -> None:
    """The relay would find it out later and less clearly."""
    try:
        parse()
    except ValueError as error:
        raise typer.BadParameter(f"{options}: {error}") from None


def _address(text: str, option: str) -> Address:
    try:
        return parse_address(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} must be an IP address and a port, like 127.0.0.1:8080 or [::]:8443"
        ) from None
