"""Composition root of a relay process: `python -m pancar_relay`, configured by its environment (see `settings`).

Makes the parts, hands them to each other, turns once a second, and takes them down in order on SIGTERM or SIGINT: at
once, or once its cameras have gone elsewhere (`drain`).
"""

import asyncio
import datetime
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web
from pancar_proto import logs

from pancar_relay._engine import DtlsReceived, Engine, Strained, Switched, ViewerEnded
from pancar_relay.control import Control, Facts, Identity
from pancar_relay.desired import Desired, MediaAddresses
from pancar_relay.drain import Drain
from pancar_relay.enrol import Enrolment, own_key
from pancar_relay.errors import SettingsError
from pancar_relay.health import Health
from pancar_relay.https import Https
from pancar_relay.ingest.bitrates import PERIOD, Bitrates
from pancar_relay.ingest.cameras import Cameras
from pancar_relay.kept import Kept
from pancar_relay.listener import Listener
from pancar_relay.metrics import Metrics
from pancar_relay.settings import Address, Settings, host_addresses
from pancar_relay.stats import Stats
from pancar_relay.viewer.layers import Layers
from pancar_relay.viewer.rights import Rights
from pancar_relay.viewer.sessions import Sessions
from pancar_relay.viewer.whep import Whep
from pancar_relay.viewer.whep_layers import WhepLayers
from pancar_relay.wall.api import Api
from pancar_relay.wall.pages import Pages
from pancar_relay.web import Web

log = structlog.get_logger()

TICK = 1.0
# What a connection kept open costs (about 30 KiB) is worth a wall's next requests, not an hour of nothing.
KEEPALIVE = 15.0
SHUTDOWN_TIMEOUT = 2.0
DESCRIPTORS = 65_536


class Relay:
    """All parts of one relay. `serve` runs it until `stop`.

    Raises SettingsError for a certificate, authorities or a folder that cannot be used.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._drain = Drain(settings.drain_seconds)
        self._wake = asyncio.Event()
        self._media = _media(settings, engine)
        self._cameras = Cameras(engine)
        self._bitrates = Bitrates()
        self._rights = Rights()
        layers = Layers(engine, self._cameras)
        self._sessions = Sessions(engine, self._rights, self._media, settings.capacity.viewers, layers)
        self._health = Health(engine)
        self._kept = Kept(settings.state_dir, settings.relay_uid) if settings.state_dir else None
        self._https, self._enrolment = self._certified()
        self._control: Control | None = None
        self._stats = Stats(engine)
        metrics = Metrics(self._cameras, self._sessions, self._stats, self._attached)
        self._api = Api(self._cameras, self._rights, self._stats, self._link_used)
        pages = Pages()
        whep = Whep(self._cameras, self._sessions, layers, settings.ice_servers)
        whep_layers = WhepLayers(self._cameras, self._sessions, layers, self._rights, whep.limited_session)
        self._web = Web(self._rights, self._health, metrics, pages, settings.cors).application(
            (whep, whep_layers, self._api)
        )

    def stop(self) -> None:
        """At the first call the relay drains, if it is given time for that; at the second it ends."""
        self._drain.ask(time.monotonic())
        self._wake.set()

    async def serve(self) -> None:
        """Raises OSError where the HTTP address cannot be bound."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._engine.fileno(), self._on_engine)
        runner = web.AppRunner(
            self._web, access_log=None, keepalive_timeout=KEEPALIVE, shutdown_timeout=SHUTDOWN_TIMEOUT
        )
        runner.app.on_shutdown.append(self._on_shutdown)
        await runner.setup()
        listener: Listener | None = None
        try:
            listener, url = self._listen(runner)
            control = self._control = self._make_control(url)
            tasks = [
                self._supervised("enrolment", self._enrolment.run()),
                self._supervised("control", control.run()),
                self._supervised("bitrates", self._measure(control)),
            ]
            # What lives as long as the process need not be looked at by every collection.
            gc.collect()
            gc.freeze()
            log.info("relay.started", url=url, media=",".join(str(Address(*address)) for address in self._media.udp))
            await self._turn(control)
            await self._go_down(control, tasks)
        finally:
            if listener is not None:
                listener.close()
            await runner.cleanup()
            loop.remove_reader(self._engine.fileno())

    async def _turn(self, control: Control) -> None:
        while not self._over():
            if self._drain.asked and not self._health.draining:
                log.info("relay.draining", cameras=len(self._cameras), sessions=len(self._sessions))
                self._health.draining = True
                control.drain("the relay was asked to end")
            self._health.tick()
            self._sessions.tick(time.monotonic(), time.time())
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _over(self) -> bool:
        return self._drain.over(
            time.monotonic(), cameras=len(self._cameras), sessions=len(self._sessions), attached=self._attached()
        )

    async def _go_down(self, control: Control, tasks: "list[asyncio.Task[None]]") -> None:
        log.info("relay.stopping", cameras=len(self._cameras), sessions=len(self._sessions))
        self._health.draining = True
        self._cameras.close()
        self._sessions.close()
        await control.finish()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def _supervised(self, name: str, coroutine: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(coroutine, name=name)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # A relay that can no longer be told anything is to be restarted, not to be left deaf.
            log.critical(f"{task.get_name()}.died", error=repr(error))
            self._drain.hurry()
            self._wake.set()

    async def _measure(self, control: Control) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            stats = await self._stats.take()
            if stats is not None:
                received = {stream.stream: stream.bytes for stream in stats.streams}
                counters = {
                    view.key: (view.stream, received[view.stream])
                    for view in self._cameras.views()
                    if view.stream is not None and view.stream in received
                }
                control.remeasured(self._bitrates.measure(counters, time.monotonic() - self._stats.age()))

    async def _on_shutdown(self, _app: web.Application) -> None:
        await self._api.close()

    def _listen(self, runner: web.AppRunner) -> tuple[Listener, str]:
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        context = self._https.context if self._https else None
        listener = Listener(self._settings.http_listen, runner.server, context)
        return listener, f"{'https' if context else 'http'}://{Address(self._http_host(), listener.port)}"

    def _http_host(self) -> str:
        """Where others reach HTTP: of the host's own addresses one that is advertised for media, where there is one."""
        listen = self._settings.http_listen
        if not listen.wildcard:
            return listen.host
        own = host_addresses(listen.host)
        return next((address for address in self._settings.media_addresses if address in own), own[0])

    def _certified(self) -> tuple[Https | None, Enrolment]:
        settings = self._settings
        key = own_key(self._kept)
        https: Https | None = None
        if settings.tls is not None:
            https = Https.given(settings.tls)
        elif not settings.http_listen.loopback:
            listen = settings.http_listen
            own = host_addresses(listen.host) if listen.wildcard else (listen.host,)
            https = Https.own(key.self_signed((*own, *settings.media_addresses), datetime.datetime.now(datetime.UTC)))
        return https, Enrolment(settings.enrolling, key, self._kept, https.present if https else None)

    def _make_control(self, url: str) -> Control:
        settings = self._settings
        identity = Identity(
            relay_uid=settings.relay_uid,
            pool=settings.pool,
            version=version("pancar"),
            http_url=url,
            media_addresses=self._media,
            capacity=settings.capacity,
        )
        facts = Facts(self._cameras, self._bitrates, self._rights)
        return Control(settings.control, self._enrolment, identity, facts, self._kept, self._on_desired)

    def _on_desired(self, desired: Desired) -> None:
        # Access may be refused, and is so before anything changes.
        self._rights.update(desired.access)
        told = desired.media_addresses
        self._sessions.advertise(told if told.udp or told.tcp else self._media)
        self._cameras.desire(desired.assignments)
        if self._drain.asked:
            self._wake.set()

    def _on_engine(self) -> None:
        for event in self._engine.events():
            try:
                if isinstance(event, DtlsReceived | ViewerEnded | Switched | Strained):
                    self._sessions.on_event(event)
                else:
                    self._cameras.on_event(event)
            except Exception:
                # The events after it are of other viewers and cameras.
                log.exception("engine.event_failed", kind=type(event).__name__)

    def _link_used(self) -> None:
        if self._control is not None:
            self._control.link_used()

    def _attached(self) -> bool:
        return self._control is not None and self._control.attached


def _media(settings: Settings, engine: Engine) -> MediaAddresses:
    """Where viewers reach the engine."""
    udp, tcp = engine.local_address[1], engine.tcp_address[1]
    if settings.media_listen.port not in (0, tcp):
        log.warning("relay.media_tcp_elsewhere", wanted=settings.media_listen.port, port=tcp)
    return MediaAddresses(
        udp=tuple((host, udp) for host in settings.media_addresses),
        tcp=tuple((host, tcp) for host in settings.media_addresses),
    )


async def _run(settings: Settings) -> None:
    engine = Engine(settings.media_listen.host, settings.media_listen.port)
    try:
        relay = Relay(settings, engine)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, relay.stop)
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


def _take_descriptors() -> None:
    """Viewers over TCP take one each, and shells give a process no more than 1,024 unless it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"pancar relay: {error}", file=sys.stderr)  # noqa: T201 - the log's format is among what failed
        return 2
    if settings.standby and not _started():
        return 0
    _call_itself("pancar-relay")
    _take_descriptors()
    logs.configure(settings.log_format)
    structlog.contextvars.bind_contextvars(relay=settings.relay_name)
    try:
        asyncio.run(_run(settings))
    except (SettingsError, OSError) as error:
        log.critical("relay.not_started", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
