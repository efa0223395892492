"""Which cluster is whose, on one machine: claims a number for a new one, and removes what unclean ends left behind.

A cluster's folder is locked for as long as the process lives that made it. A folder that nobody holds was left by one
that was killed: the kernel has ended its processes and namespaces by then, and what is left are cgroups and files.
"""

import contextlib
import fcntl
import ipaddress
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path("/var/cache/pancar-clusters")
CGROUPS = Path("/sys/fs/cgroup")
NUMBERS = range(160, 224)
SWEEP_SECONDS = 20.0


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether the folder could be had; nobody else has it meanwhile."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed it between the two lines above.
            yield os.fstat(lock.fileno()).st_nlink > 0
        except BlockingIOError:
            yield False


def hierarchies() -> list[Path]:
    """Where cgroups are made: one root for each hierarchy of version 1, or the one of version 2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink() and path.name != "unified"]


def remains(name: str) -> list[Path]:
    """The cgroups of a cluster, innermost first."""
    return [
        Path(path)
        # On a hybrid machine the runtime makes them in version 2's hierarchy as well.
        for root in (*hierarchies(), CGROUPS / "unified")
        for path, _, _ in os.walk(root / name, topdown=False)
        if Path(path).is_dir()
    ]


def _remove(folder: Path, name: str) -> None:
    deadline = time.monotonic() + SWEEP_SECONDS
    while left := remains(name):
        for cgroup in left:
            with contextlib.suppress(OSError):  # a process in it is still ending
                cgroup.rmdir()
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def sweep() -> None:
    """Removes what is left of clusters whose process is no more."""
    if not FOLDER.is_dir():
        return
    for folder in FOLDER.iterdir():
        with _held(folder) as free:
            if free:
                _remove(folder, f"pancar-{folder.name}")


def _taken() -> list[ipaddress.IPv4Network]:
    """Networks that this machine has a route of its own to, of /16 or smaller."""
    routes = json.loads(subprocess.run(["ip", "-json", "route"], check=True, capture_output=True).stdout)
    networks = [ipaddress.IPv4Network(route["dst"]) for route in routes if route["dst"] != "default"]
    return [network for network in networks if network.prefixlen >= 16]


@contextlib.contextmanager
def number() -> Iterator[tuple[int, Path]]:
    """A number that no other cluster has, and its empty folder. All that bears its name is removed at the end."""
    sweep()
    taken = _taken()
    for candidate in random.sample(NUMBERS, len(NUMBERS)):
        if any(network.overlaps(ipaddress.IPv4Network(f"10.{candidate}.0.0/16")) for network in taken):
            continue
        folder = FOLDER / str(candidate)
        with _held(folder) as free:
            if free:
                try:
                    yield candidate, folder
                finally:
                    _remove(folder, f"pancar-{candidate}")
                return
    raise RuntimeError("no network of 10.160.0.0 to 10.223.0.0 is free for a test cluster")
