"""Composition root of a relay process: `python -m pancar_relay`, configured by its environment (see `settings`).

Makes the parts, hands them to each other, turns once a second, and takes them down in order on SIGTERM or SIGINT.
"""

import asyncio
import gc
import os
import signal
import ssl
import sys
import time
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web
from pancar_proto import logs

from pancar_relay._engine import DtlsReceived, Engine, ViewerEnded
from pancar_relay.control import Control, Identity
from pancar_relay.desired import Desired
from pancar_relay.errors import SettingsError
from pancar_relay.health import Health
from pancar_relay.ingest.cameras import Cameras
from pancar_relay.metrics import Metrics
from pancar_relay.settings import Address, Settings, host_addresses
from pancar_relay.stats import Stats
from pancar_relay.viewer.rights import Rights
from pancar_relay.viewer.sessions import Sessions
from pancar_relay.viewer.whep import Whep
from pancar_relay.wall.api import Api
from pancar_relay.wall.pages import Pages
from pancar_relay.web import Web

log = structlog.get_logger()

CAPACITY_CAMERAS = 200
CAPACITY_VIEWERS = 1000
CAPACITY_EGRESS_MBPS = 2000
TICK = 1.0
# What a connection kept open costs (about 30 KiB) is worth a wall's next requests, not an hour of nothing.
KEEPALIVE = 15.0
SHUTDOWN_TIMEOUT = 2.0


class Relay:
    """All parts of one relay. `serve` runs it until `stop`."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._stopping = asyncio.Event()
        media_port = engine.local_address[1]
        self._media = [(host, media_port) for host in settings.media_addresses]
        self._cameras = Cameras(engine)
        self._rights = Rights()
        self._sessions = Sessions(engine, self._rights, self._media, CAPACITY_VIEWERS)
        self._health = Health(engine)
        self._control: Control | None = None
        stats = Stats(engine)
        metrics = Metrics(
            self._cameras, self._sessions, stats, lambda: self._control is not None and self._control.attached
        )
        self._api = Api(self._cameras, self._rights, stats, self._link_used)
        pages = Pages()
        self._web = Web(self._rights, self._health, metrics, pages).application(
            Whep(self._cameras, self._sessions), self._api
        )

    def stop(self) -> None:
        self._stopping.set()

    async def serve(self) -> None:
        """Raises OSError where the HTTP address cannot be bound, SettingsError for a certificate that does not load."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._engine.fileno(), self._on_engine)
        runner = web.AppRunner(
            self._web, access_log=None, keepalive_timeout=KEEPALIVE, shutdown_timeout=SHUTDOWN_TIMEOUT
        )
        runner.app.on_shutdown.append(self._on_shutdown)
        await runner.setup()
        try:
            url = await self._listen(runner)
            self._control = Control(
                self._settings.control, self._identity(url), self._cameras, self._rights, self._on_desired
            )
            control = asyncio.create_task(self._control.run(), name="control")
            control.add_done_callback(self._on_control_done)
            # What lives as long as the process need not be looked at by every collection.
            gc.collect()
            gc.freeze()
            log.info("relay.started", url=url, media=",".join(str(Address(*address)) for address in self._media))
            await self._turn()
            await self._go_down(control)
        finally:
            await runner.cleanup()
            loop.remove_reader(self._engine.fileno())

    async def _turn(self) -> None:
        while not self._stopping.is_set():
            self._health.tick()
            self._sessions.tick(time.monotonic(), time.time())
            try:
                async with asyncio.timeout(TICK):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _go_down(self, control: "asyncio.Task[None]") -> None:
        log.info("relay.stopping", sessions=len(self._sessions))
        self._health.draining = True
        self._cameras.close()
        self._sessions.close()
        control.cancel()
        await asyncio.wait([control])

    async def _on_shutdown(self, _app: web.Application) -> None:
        await self._api.close()

    async def _listen(self, runner: web.AppRunner) -> str:
        listen = self._settings.http_listen
        context = _ssl_context(self._settings)
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=context)
        await site.start()
        port = int(runner.addresses[0][1])
        host = host_addresses(listen.host)[0] if listen.wildcard else listen.host
        return f"{'https' if context else 'http'}://{Address(host, port)}"

    def _identity(self, url: str) -> Identity:
        return Identity(
            relay_uid=self._settings.relay_uid,
            pool=self._settings.pool,
            version=version("pancar"),
            http_url=url,
            media_addresses=tuple(str(Address(*address)) for address in self._media),
            cameras=CAPACITY_CAMERAS,
            viewers=CAPACITY_VIEWERS,
            egress_mbps=CAPACITY_EGRESS_MBPS,
        )

    def _on_desired(self, desired: Desired) -> None:
        # Access may be refused, and is so before anything changes.
        self._rights.update(desired.access)
        self._cameras.desire(desired.assignments)

    def _on_engine(self) -> None:
        for event in self._engine.events():
            try:
                if isinstance(event, DtlsReceived | ViewerEnded):
                    self._sessions.on_event(event)
                else:
                    self._cameras.on_event(event)
            except Exception:
                # The events after it are of other viewers and cameras.
                log.exception("engine.event_failed", kind=type(event).__name__)

    def _link_used(self) -> None:
        if self._control is not None:
            self._control.link_used()

    def _on_control_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # A relay that can no longer be told anything is to be restarted, not to be left deaf.
            log.critical("control.died", error=repr(error))
            self.stop()


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls.certificate, settings.tls.key)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"PANCAR_TLS_CERTIFICATE and PANCAR_TLS_KEY do not load as a pair: {error}") from error
    return context


async def _run(settings: Settings) -> None:
    engine = Engine(settings.media_listen.host, settings.media_listen.port)
    relay = Relay(settings, engine)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, relay.stop)
    try:
        await relay.serve()
    finally:
        await asyncio.to_thread(engine.close)
        log.info("relay.stopped")


def _started() -> bool:
    """Waits for the line that starts a standby; False where its starter is gone."""
    _call_itself("pancar-standby")
    return bool(sys.stdin.buffer.readline())


def _call_itself(name: str) -> None:
    """The process's name in ps and top (proc_pid_comm), by which the relay and its standby are told apart."""
    Path("/proc/self/comm").write_text(name)


def main() -> int:
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"pancar relay: {error}", file=sys.stderr)  # noqa: T201 - the log's format is among what failed
        return 2
    if settings.standby and not _started():
        return 0
    _call_itself("pancar-relay")
    logs.configure(settings.log_format)
    structlog.contextvars.bind_contextvars(relay=settings.relay_uid)
    try:
        asyncio.run(_run(settings))
    except (SettingsError, OSError) as error:
        log.critical("relay.not_started", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
