"""A wire between this network namespace and a host of its own at the far end, as good or bad as it is told to be.

Used by `pancar bench impair`, and by tests through `rigs.network`. It takes root, /dev/net/tun, and ip and nsenter.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pancar_cli.bench.wire.impairment import Counts, Impairment
from pancar_cli.bench.wire.shim import TUN

_PROGRAMS = ("ip", "nsenter")
_CLONE_NEWNET = 0x40000000
_END_SECONDS = 5.0


class WireError(Exception):
    """There can be no wire here; says what is missing."""


@dataclass(slots=True)
class WireCounts(Counts):
    """`overrun`: packets lost where none should be, because the machine was too busy."""

    overrun: int = 0


class Wire:
    """Made when constructed (raises WireError), gone with `close`. `near` is this end's address, `far` the other's;
    `device` is what this end is called here, for who wants to listen to it."""

    def __init__(self, seed: int = 1) -> None:
        _require()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "pancar_cli.bench.wire.shim", f"--seed={seed}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C goes to the terminal's foreground group: the wire outlives those who speak over it.
            start_new_session=True,
        )
        try:
            ends = self._read()
        except WireError:
            self.close()
            raise
        self.near, self.far, self.device = str(ends["near"]), str(ends["far"]), str(ends["device"])
        self.pid = self._process.pid
        self._namespace = f"/proc/{self.pid}/ns/net"

    def change(self, *, to_far: Impairment | None = None, to_near: Impairment | None = None) -> None:
        """From the next packet on; a direction that is not given stays as it is."""
        wanted = {"to_far": to_far, "to_near": to_near}
        self._ask({name: asdict(impairment) for name, impairment in wanted.items() if impairment is not None})

    def both(self, impairment: Impairment) -> None:
        """The same in either direction."""
        self.change(to_far=impairment, to_near=impairment)

    def counts(self) -> tuple[WireCounts, WireCounts]:
        """Of the direction to the far end, and of that to this one."""
        answer = self._ask({})
        return WireCounts(**answer["to_far"]), WireCounts(**answer["to_near"])

    @property
    def command(self) -> list[str]:
        """Before another command's words: it runs at the far end."""
        return ["nsenter", f"--net={self._namespace}", "--"]

    def socket(self) -> socket.socket:
        """A UDP socket at the far end, bound to its address, non-blocking."""
        opened: list[socket.socket] = []
        failed: list[OSError] = []

        def enter() -> None:
            # A thread's namespace is its own, and a socket's the one that it was opened in.
            try:
                with Path(self._namespace).open() as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"entering {self._namespace}")
                opened.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failed:
            raise WireError(f"no socket at the far end of the wire: {failed[0]}")
        opened[0].bind((self.far, 0))
        return opened[0]

    def close(self) -> None:
        """Ends the process, and with it both devices and the namespace once nothing uses it; idempotent."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdin.closed:
            raise WireError("the wire is closed")
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WireError("the wire's process is gone") from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process is gone"}
        if "error" in answer:
            raise WireError(f"the wire did not come up or broke: {answer['error']}")
        return answer


def _require() -> None:
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0:
        raise WireError("an impaired network takes root: it is made of a network namespace and TUN devices")
    if not TUN.exists():
        raise WireError(f"an impaired network takes TUN devices, and {TUN} is not there (modprobe tun)")
    if missing:
        raise WireError(f"an impaired network takes {' and '.join(missing)} (Debian: iproute2, util-linux)")
