"""Relay processes under the operator's own control plane and planner: drained, started anew, certified anew."""

import asyncio
import contextlib
import datetime
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from pancar_operator.control import ControlPlane
from pancar_operator.manifests import parse
from pancar_operator.model import Key
from pancar_operator.observe import Known
from pancar_operator.reconcile import Reconciler
from pancar_operator.report import CameraState
from rigs.relay import START_SECONDS, Cameras, Certifier, Running, running
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
TAMAN = Key("default", "taman")
CAMERA = """
apiVersion: pancar.dev/v1alpha1
kind: Camera
metadata: {{name: taman}}
spec: {{source: {{main: {{url: "{url}"}}}}}}
"""


class Core(Certifier):
    """The operator's own core."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.known = Known(time.monotonic)
        self._control = ControlPlane(self.known, term=time.time_ns(), link_used=lambda _: None)
        self._reconciler = Reconciler(self.known, self._control, lambda _: None)

    async def start(self) -> None:
        await super().start()
        self._serving, _ = self._control.listen(self.target, self.issuer.current)
        await self._serving.start()
        self._reconciling = asyncio.create_task(self._reconciler.run())

    async def stop(self) -> None:
        self._reconciling.cancel()
        await self._serving.stop(0.1)
        await super().stop()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reconciling

    def declare(self, url: str) -> None:
        self.known.declare(parse([("cameras.yaml", CAMERA.format(url=url))]))

    def pulled_by(self, relay: Running) -> bool:
        report = self.known.reports.get(TAMAN)
        return report is not None and (report.relay, report.state) == (relay.uid, CameraState.LIVE)


Start = Callable[..., Awaitable[Running]]


@pytest_asyncio.fixture(loop_scope="module")
async def core() -> AsyncIterator[Core]:
    # Short because of the 108 bytes of a socket's path.
    with tempfile.TemporaryDirectory(prefix="pancar") as folder:
        core = Core(Path(folder))
        await core.start()
        yield core
        await core.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def start(core: Core, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a relay and waits until it is attached."""
    async with AsyncExitStack() as started:

        async def start(**settings: str) -> Running:
            relay = await started.enter_async_context(running(core, tmp_path, **settings))
            await eventually(lambda: relay.uid in core.known.relays, "the relay attaches", seconds=START_SECONDS)
            return relay

        yield start


async def test_a_drained_relays_camera_is_pulled_elsewhere(core: Core, start: Start, camera: Cameras) -> None:
    first = await start(PANCAR_DRAIN_SECONDS="60")
    core.declare(camera.urls[0])
    await eventually(lambda: core.pulled_by(first), "the first relay pulls it", seconds=30.0)
    second = await start()
    first.process.terminate()
    assert await first.ended() == 0
    await eventually(lambda: core.pulled_by(second), "the second relay pulls it", seconds=30.0)
    released, pulled = first.events("control.applied")[-1], second.events("camera.live")
    assert (released["cameras"], len(pulled)) == (0, 1)
    # One pull: it was let go before the other began.
    assert released["timestamp"] < pulled[0]["timestamp"]
    assert first.events("camera.fault") == second.events("camera.fault") == []


async def test_a_relay_started_anew_keeps_its_camera(
    core: Core, start: Start, camera: Cameras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long its process takes to load.
    monkeypatch.setattr("pancar_operator.observe.DETACHED_GRACE", 120.0)
    folder = {"PANCAR_STATE_DIR": str(tmp_path / "state")}
    first = await start(**folder)
    core.declare(camera.urls[0])
    await eventually(lambda: core.pulled_by(first), "the relay pulls it", seconds=30.0)
    await start()
    first.process.kill()
    await first.ended()
    again = await start(**folder, PANCAR_RELAY_UID=first.uid)
    await eventually(lambda: again.events("camera.live"), "the same relay pulls it again", seconds=30.0)
    assert again.events("control.lives_by_kept") == []


async def test_another_certificate_loses_no_camera(core: Core, start: Start, camera: Cameras) -> None:
    core.behind = datetime.timedelta(hours=17)
    relay = await start()
    core.declare(camera.urls[0])
    await eventually(lambda: core.pulled_by(relay), "the relay pulls it", seconds=30.0)
    core.behind = datetime.timedelta()
    await eventually(lambda: len(relay.events("control.attached")) > 1, "it attaches anew", seconds=30.0)
    core.declare(camera.urls[0].replace("rtsp://127.0.0.1", "rtsp://localhost"))
    await eventually(lambda: len(relay.events("camera.live")) > 1, "it is told of changes", seconds=30.0)
    assert relay.events("camera.fault") == relay.events("control.detached") == []
