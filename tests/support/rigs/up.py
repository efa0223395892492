"""`pancar up` as its users run it: a process of its own with a fresh state folder, on ephemeral ports of loopback."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from rigs import manifests
from rigs.waiting import eventually

PANCAR = Path(sys.executable).with_name("pancar")
LINK = re.compile(r"(https?://[^\s/]+)/enter#([\w-]+)")
MARK = "PANCAR_TEST_RUN"
START_SECONDS, STOP_SECONDS = 90.0, 20.0


class Up:
    """One run. Leaving it ends `pancar up` as Ctrl-C does, and fails the test where a process of it is left over."""

    def __init__(
        self,
        folder: Path,
        documents: Sequence[manifests.Document],
        listen: str = "127.0.0.1",
        options: Sequence[str | Path] = (),
    ) -> None:
        self.state = folder / "state"
        self.manifest = folder / "cameras.yaml"
        self.base = self.link = self.token = ""
        self._listen = listen
        # Beyond loopback its certificate is its own, in which nobody trusts.
        self.tls = listen.startswith("127.")
        self._environment = {**os.environ, MARK: uuid.uuid4().hex}
        self._options = options
        self._output: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.write(documents)

    def write(self, documents: Sequence[manifests.Document]) -> None:
        """Replaces the manifest file as an editor does: whole, from one moment to the next."""
        self.write_text(manifests.dump(documents))

    def write_text(self, text: str) -> None:
        draft = self.manifest.with_name(".draft")
        draft.write_text(text)
        draft.replace(self.manifest)

    @property
    def output(self) -> str:
        """All that `pancar up` has written so far, to both streams."""
        return "".join(self._output)

    @property
    def relay_log(self) -> str:
        log = self.state / "relay.log"
        return log.read_text() if log.exists() else ""

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(PANCAR, "up", self.manifest, "--state-dir", self.state, "--listen", f"{self._listen}:0", *self._options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        found = await eventually(lambda: LINK.search(self.output), "the link was printed", seconds=START_SECONDS)
        self.link, self.base = found[0], found[1]
        self.token = await self.mint("--scope", "watch", "--scope", "metrics")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._output.append(line.decode(errors="replace"))

    async def pancar(self, *arguments: str | Path) -> str:
        """Runs another `pancar` command against this run's state; returns its standard output."""
        process = await asyncio.create_subprocess_exec(
            *(PANCAR, *arguments, "--state-dir", self.state), stdout=asyncio.subprocess.PIPE, env=self._environment
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def mint(self, *arguments: str) -> str:
        """A bearer token; all cameras unless `arguments` of `pancar token` say otherwise."""
        return (await self.pancar("token", *arguments)).strip()

    async def get(self, path: str, *, token: str | None = None) -> str:
        """The body that an authenticated GET brings; fails the test on anything but 200."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        address = self.base + path
        async with (
            aiohttp.ClientSession() as session,
            session.get(address, headers=headers, ssl=self.tls) as response,
        ):
            assert response.status == 200, f"GET {path}: {response.status} {await response.text()}"
            return await response.text()

    async def cameras(self) -> dict[str, dict[str, Any]]:
        """What the API says of each camera, by its name."""
        headers = {"Authorization": f"Bearer {self.token}"}
        address = f"{self.base}/api/v1/cameras"
        async with (
            aiohttp.ClientSession() as session,
            session.get(address, headers=headers, ssl=self.tls) as response,
        ):
            assert response.status == 200, await response.text()
            listed: dict[str, list[dict[str, Any]]] = await response.json()
        return {camera["name"]: camera for camera in listed["cameras"]}

    async def until(self, name: str, state: str, *, reason: str | None = None, seconds: float = 15.0) -> dict[str, Any]:
        """Waits until the API says so of the camera; returns what it says."""

        async def probe() -> dict[str, Any] | None:
            camera = (await self.cameras()).get(name)
            fits = camera is not None and camera["state"] == state and reason in (None, camera["reason"])
            return camera if fits else None

        return await eventually(probe, f"camera {name} is {state} {reason or ''}", seconds=seconds)

    async def until_gone(self, name: str) -> None:
        """Waits until the API no longer lists the camera."""

        async def probe() -> bool:
            return name not in await self.cameras()

        await eventually(probe, f"camera {name} is no longer listed")

    def relays(self) -> list[int]:
        """Process ids of the relays of this run, without the one that stands by."""
        return [pid for pid, name in self._processes() if name == "pancar-relay"]

    async def stands_by(self) -> None:
        """Waits until the relay's successor has loaded itself, so that it takes over at once."""
        await eventually(
            lambda: "pancar-standby" in dict(self._processes()).values(), "a successor stands by", seconds=60
        )

    def kill_relay(self) -> None:
        """kill -9."""
        (relay,) = self.relays()
        os.kill(relay, signal.SIGKILL)

    def _processes(self) -> Iterator[tuple[int, str]]:
        mark = f"{MARK}={self._environment[MARK]}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name), (folder / "comm").read_text().strip()
            except OSError:
                continue

    async def stop(self) -> None:
        if self._process is None or self._reader is None:
            return
        ended = self._process.returncode is not None
        if not ended:
            self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        left = list(self._processes())
        for pid, _ in left:
            os.kill(pid, signal.SIGKILL)
        await self._reader
        assert not ended, f"pancar up ended by itself:\n{self.output}"
        assert not left, f"left running after Ctrl-C: {left}\n{self.output}"

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            sys.stdout.write(self.output + self.relay_log)
            await self.stop()
            raise
        return self

    async def __aexit__(self, failure: object, *_: object) -> None:
        if failure is not None:
            sys.stdout.write(self.output + self.relay_log)
        await self.stop()


class Runs:
    """Hands out runs to a test, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self, *documents: manifests.Document, listen: str = "127.0.0.1", options: Sequence[str | Path] = ()
    ) -> Up:
        """Wall and pictures are served at the address `listen`."""
        folder = self._folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        return Up(folder, documents, listen, options)


@pytest.fixture
def up(tmp_path: Path) -> Runs:
    return Runs(tmp_path)
