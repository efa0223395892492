"""The operator under measurement: a process of this machine with the rights that the chart gives it, and no more."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rigs.scale.relays import Operator as Address

END_SECONDS: Final = 20.0
# Without what its image does not have, and structlog would load.
START: Final = """
import runpy, sys
sys.modules["rich"] = None
runpy.run_module("pancar_operator", run_name="__main__", alter_sys=True)
"""


class Process:
    """One at a time; `start` again after `kill`."""

    def __init__(self, kubeconfig: Path, namespace: str, pool: str, ports: tuple[int, int, int], log: Path) -> None:
        control, enrol, health = (f"127.0.0.1:{port}" for port in ports)
        self._control, self._enrol = control, enrol
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            # As its image is built and run.
            "PYTHONNODEBUGRANGES": "1",
            "PYTHONPYCACHEPREFIX": str(log.parent / "pycache"),
            "PYTHONFAULTHANDLER": "1",
            "KUBECONFIG": str(kubeconfig),
            "PANCAR_NAMESPACE": namespace,
            "PANCAR_LISTEN": control,
            "PANCAR_ENROL_LISTEN": enrol,
            "PANCAR_HEALTH_LISTEN": health,
            "PANCAR_RELAY_CONTROL": control,
            "PANCAR_RELAY_ENROL": enrol,
            "PANCAR_RELAY_IMAGE": "simulated",
            "PANCAR_DEFAULT_POOL": f"{namespace}/{pool}",
            "PANCAR_LOG_FORMAT": "json",
        }

    def address(self, authorities: bytes) -> Address:
        return Address(self._control, self._enrol, authorities)

    def start(self) -> None:
        self._starts += 1
        identity = {"PANCAR_IDENTITY": f"operator-{self._starts}"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START],
                env={**self._environment, **identity},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def rss_mib(self) -> tuple[float, float]:
        """What it holds now and the most that it ever held (proc_pid_status: VmRSS, VmHWM)."""
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        kib = {name: int(value.split()[0]) for name, value in (line.split(":", 1) for line in lines if "kB" in line)}
        return kib["VmRSS"] / 1024, kib["VmHWM"] / 1024

    def cpu_s(self) -> float:
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def last_words(self) -> str:
        code = None if self._process is None else self._process.poll()
        return f"(exit code {code})\n" + "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    process.start()
    try:
        yield process
    finally:
        process.end(signal.SIGTERM)
