"""`pancar demo`: synthetic cameras in a process of their own, their manifests, and `pancar up` over these."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from pancar_cli import up
from pancar_cli.demo.cameras import PASSWORD_VARIABLE
from pancar_cli.demo.manifests import Running, manifests

MAX_CAMERAS = 32
_LISTEN = ("127.0.0.1", 8080)
_END_SECONDS = 5.0


class CamerasError(Exception):
    """The cameras' process ended before all of them ran; what it said is on standard error."""


@contextlib.contextmanager
def _cameras(count: int, password: str) -> Iterator[subprocess.Popen[str]]:
    """The cameras' process. It ends with this one, whichever way this one ends: its standard input is its lifeline."""
    process = subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-m", "pancar_cli.demo.cameras", "--count", str(count), "--flaky", "--lifeline"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, PASSWORD_VARIABLE: password},
        text=True,
        # Ctrl-C goes to the terminal's foreground group: the cameras end last, after those who look at them.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _announced(process: subprocess.Popen[str], count: int, console: Console) -> list[Running]:
    """Waits until all cameras run. Raises CamerasError."""
    if process.stdout is None:
        raise CamerasError
    found: list[Running] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Starting synthetic cameras", total=count)
        for line in process.stdout:
            found.append(Running.parse(json.loads(line)))
            progress.advance(task)
            if len(found) == count:
                return found
    raise CamerasError


def _tell(cameras: list[Running], console: Console) -> None:
    console.print(f"{len(cameras)} synthetic cameras run on this machine.")
    for camera in cameras:
        if camera.locked:
            console.print(f"  {camera.title} wants a password, which its Secret holds.", style="dim")
        if camera.flaky:
            console.print(f"  {camera.title} dies every half minute and comes back by itself.", style="dim")


def _listen() -> str:
    """The usual port of the wall, or any, where that one is taken."""
    host, port = _LISTEN
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            port = 0
    return f"{host}:{port}"


def command(
    cameras: Annotated[int, typer.Option(min=1, max=MAX_CAMERAS, help="How many synthetic cameras.")] = 6,
    listen: Annotated[
        str | None, typer.Option(help="Address and port of the wall; by default 127.0.0.1:8080, or any free port.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the relay logs.")] = False,
) -> None:
    """Show Pancar with synthetic cameras; Ctrl-C ends all of it and leaves nothing behind."""
    console = Console(highlight=False, markup=False)
    # Made anew each time: it opens nothing but these cameras.
    password = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="pancar-demo-") as folder, _cameras(cameras, password) as process:
        try:
            running = _announced(process, cameras, console)
        except KeyboardInterrupt:
            raise typer.Exit(up.OK) from None
        except CamerasError:
            Console(stderr=True).print("The synthetic cameras did not start.", style="red")
            raise typer.Exit(up.FAILED) from None
        _tell(running, console)
        manifest = Path(folder) / "cameras.yaml"
        manifest.write_text(manifests(running, password))
        up.command([manifest], listen=listen or _listen(), state_dir=Path(folder) / "state", verbose=verbose)
