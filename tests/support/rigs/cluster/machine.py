"""A machine of namespaces: a process of its own as PID 1, with whose end everything on it ends; used by `running`."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from rigs.cluster.part import Part

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KILL_SECONDS = 20.0


class ClusterError(Exception):
    """The cluster, or a part of it, does not do what it must; the message says which, with the end of its log."""


def tail(log: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _innermost(pid: int) -> int:
    """Follows the one child of each process, from a launcher to the program that it launched."""
    while children := _children(pid):
        (pid,) = children
    return pid


class Machine:
    """`off` ends all that runs on it. So does the end of the process that made it, however that ends."""

    def __init__(self, name: str, pause: Path, logs: Path, *, inside: "Machine | None" = None) -> None:
        """Inside another machine it shares that one's fate, and its mounts as they are then."""
        self.name = name
        self._logs = logs
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._launcher = subprocess.Popen(
            [
                *(inside.command if inside else []),
                *("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--mount-proc"),
                *("--propagation", "private", "--kill-child", str(pause), "-until-eof"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for pytest, which then switches it off
        )
        assert self._launcher.stdout is not None
        assert self._launcher.stderr is not None
        if self._launcher.stdout.readline() != b"ready\n":
            raise ClusterError(f"no namespaces for {name}: {self._launcher.stderr.read().decode()}")
        self.pid = _innermost(self._launcher.pid)

    @property
    def command(self) -> list[str]:
        """What runs a program there when it is put before the program's own command, which needs absolute paths.

        Not `ip netns exec`: that mounts a /sys of its own, which hides the cgroups.
        """
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--uts", "--ipc"]

    @property
    def running(self) -> bool:
        return self._launcher.poll() is None

    def run(self, *command: str | Path, seconds: float = 300.0) -> str:
        """Its standard output, once it has ended well."""
        done = subprocess.run(
            [*self.command, *map(str, command)],
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self._environment,
        )
        if done.returncode != 0:
            raise ClusterError(f"{self.name}: {' '.join(map(str, command))}: {done.stderr or done.stdout}")
        return done.stdout

    def ip(self, *arguments: str) -> None:
        """`ip` in its network alone: processes are named by the ids that they have here."""
        subprocess.run(["nsenter", f"--target={self.pid}", "--net", "ip", *arguments], check=True)

    def start(self, part: Part) -> None:
        """Writes the files it reads, then starts it; its output goes to a log of its own."""
        for file, text in part.files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        with self.log(part.name).open("ab") as log:
            self._parts[part.name] = subprocess.Popen(
                [*self.command, *part.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )

    def stop(self, name: str) -> None:
        """kill -9 to one part."""
        process = self._parts.pop(name)
        if process.poll() is None:
            (program,) = _children(process.pid)
            os.kill(program, signal.SIGKILL)
        process.wait(KILL_SECONDS)

    def log(self, part: str) -> Path:
        return self._logs / f"{self.name}.{part}.log"

    def complaint(self) -> str | None:
        """Which parts have ended by themselves, with the last they said."""
        ended = [name for name, process in self._parts.items() if process.poll() is not None]
        return "\n".join(f"{name} on {self.name} ended:\n{tail(self.log(name))}" for name in ended) or None

    def off(self) -> None:
        """As when power is lost. Returns when every process of it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        for process in (self._launcher, *self._parts.values()):
            process.wait(KILL_SECONDS)
        for pipe in (self._launcher.stdin, self._launcher.stdout, self._launcher.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._parts.clear()

    @property
    def _environment(self) -> dict[str, str]:
        # Nothing of the caller's: an HTTP proxy or a KUBECONFIG of his would be asked first.
        return {"PATH": SYSTEM_PATH, "HOME": "/root"}


def wait_for(what: str, seconds: float, probe: Callable[[], object], *machines: Machine) -> None:
    """Asks `probe` until it is content. It says no by returning false or by failing."""
    deadline, last = time.monotonic() + seconds, ""
    while True:
        try:
            if probe():
                return
        except (ClusterError, OSError) as error:
            last = str(error)
        for machine in machines:
            if complaint := machine.complaint():
                raise ClusterError(f"while waiting until {what}: {complaint}")
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {seconds:g} s: {what}. {last}")
        time.sleep(0.1)
