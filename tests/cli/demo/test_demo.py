"""`pancar demo` as a person runs it: cameras go live, the printed link opens the wall, and nothing of it stays."""

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from rigs.waiting import eventually

PANCAR = Path(sys.executable).with_name("pancar")
LINK = re.compile(r"(http://[^\s/]+)/enter#([\w-]+)")
MARK = "PANCAR_TEST_RUN"


class Demo:
    def __init__(self, folder: Path) -> None:
        self.output = ""
        self.environment = {**os.environ, MARK: uuid.uuid4().hex, "TMPDIR": str(folder), "HOME": str(folder)}
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *options: str) -> tuple[str, str]:
        """Returns the wall's address and the code in its link."""
        self.process = await asyncio.create_subprocess_exec(
            *(str(PANCAR), "demo", "--listen", "127.0.0.1:0", *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
            # A group of its own, as a shell gives its jobs.
            process_group=0,
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(40):
            while not (link := LINK.search(self.output)):
                line = await self.process.stdout.readline()
                assert line, f"it ended by itself:\n{self.output}"
                self.output += line.decode()
        return link[1], link[2]

    def signal_group(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def left(self) -> list[bytes]:
        """Command lines of all processes of this run."""
        mark = f"{MARK}={self.environment[MARK]}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes())
            except OSError:
                continue
        return found


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Demo]:
    run = Demo(folder)
    try:
        yield run
    finally:
        if run.process is not None:
            if run.process.returncode is None:
                run.process.kill()
            await run.process.communicate()


async def states(base: str, session: aiohttp.ClientSession) -> dict[str, str]:
    async with session.get(f"{base}/api/v1/cameras") as response:
        assert response.status == 200
        cameras = (await response.json())["cameras"]
    return {camera["title"]: camera["state"] for camera in cameras}


async def test_cameras_go_live_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    async with demo(tmp_path) as run, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        base, code = await run.start("--cameras", "3")
        async with session.post(f"{base}/api/v1/session", json={"code": code}) as entered:
            assert entered.status == 204

        async def all_live() -> bool:
            return set((await states(base, session)).values()) == {"Live"}

        await eventually(all_live, "all cameras are live, the one with the password too", seconds=20)
        assert len(await states(base, session)) == 3
        assert "Pintu Air Merdeka wants a password" in run.output
        assert run.process is not None
        run.signal_group(signal.SIGINT)
        async with asyncio.timeout(20):
            rest, _ = await run.process.communicate()
        assert run.process.returncode == 0, run.output + rest.decode()
        assert b"Traceback" not in rest
        assert run.left() == []
        assert list(tmp_path.glob("pancar-demo-*")) == []


async def test_nothing_survives_its_sudden_death(tmp_path: Path) -> None:
    async with demo(tmp_path) as run:
        await run.start("--cameras", "1")
        # Itself, cameras, relay; its successor perhaps.
        assert len(run.left()) in (3, 4)
        assert run.process is not None
        run.process.kill()
        await eventually(lambda: run.left() == [], "cameras and relay ended too", seconds=20)


@pytest.mark.parametrize("count", ["0", "1000"])
async def test_numbers_out_of_range_are_refused(tmp_path: Path, count: str) -> None:
    run = Demo(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(PANCAR, "demo", "--cameras", count), stderr=asyncio.subprocess.PIPE, env=run.environment
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"--cameras" in errors
