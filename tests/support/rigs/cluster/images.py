"""What is in the images that the tests' pods run: a few programs of this machine's, or Pancar out of this checkout.

An image of Pancar holds the interpreter and the packages that .venv has, at the same absolute paths, and of those
packages only what one of Pancar's extras asks for: what the extra forgot is missing in the pod as well.
"""

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from rigs.cluster import build
from rigs.cluster.image import Entry, Image
from rigs.cluster.node import SANDBOX_IMAGE

BUSYBOX, COREDNS = "local.test/busybox:1", "local.test/coredns:1"
OPERATOR, RELAY = "local.test/pancar-operator:test", "local.test/pancar-relay:test"

CHECKOUT = Path(__file__).parents[4]
NOBODY = "65532:65532"
SCRATCH = Entry("/tmp", mode=0o1777)  # noqa: S108 (in an image)
# Parts of the standard library that are large and that nothing here imports, or that come with the packages.
LEFT_OUT = {"test", "idlelib", "lib2to3", "turtledemo", "ensurepip", "tkinter", "site-packages"}
PACKAGES = {
    "operator": {"operator/pancar_operator", "proto/pancar_proto"},
    "relay": {"relay/pancar_relay", "proto/pancar_proto"},
}
# Loaded by name while it runs, so that no program lists them.
LOADED_LATER = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")


def sandbox() -> Image:
    return Image(SANDBOX_IMAGE, ((Entry("/pause", build.binary("pause")),),), ("/pause",))


def coredns() -> Image:
    return Image(COREDNS, ((Entry("/coredns", build.binary("coredns")),),), ("/coredns",))


def busybox() -> Image:
    """A shell, an HTTP server and client, and the rest of Unix."""
    program = Path(shutil.which("busybox") or "/bin/busybox")
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries = [Entry("/bin/busybox", program), SCRATCH]
    entries += [Entry(f"/bin/{name}", link="busybox") for name in names if name != "busybox"]
    return Image(BUSYBOX, (tuple(entries),), ())


def _with_links(path: Path) -> Iterator[Path]:
    """The file, and every link on the way to it, each in a folder that is none."""
    while True:
        path = Path(os.path.realpath(path.parent)) / path.name
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _tree(root: Path, left_out: Iterable[str] = ()) -> Iterator[Path]:
    for path, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - set(left_out))
        yield from (Path(path, name) for name in sorted(files) if not name.endswith(".a"))


def _distributions(extra: str) -> Iterator[importlib.metadata.Distribution]:
    """Pancar itself, and everything that the extra requires, and so on."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    waiting = ["pancar", *project["dependencies"], *project["optional-dependencies"][extra]]
    seen = set()
    while waiting:
        wanted = Requirement(waiting.pop())
        if (key := (re.sub(r"[-_.]+", "-", wanted.name).lower(), frozenset(wanted.extras))) in seen:
            continue
        seen.add(key)
        # As installed: beside the checkout's own sources lies a list of them that calls itself a distribution too.
        path = [sysconfig.get_path("purelib")]
        distribution = next(iter(importlib.metadata.distributions(name=wanted.name, path=path)), None)
        if distribution is None:
            raise importlib.metadata.PackageNotFoundError(wanted.name)
        yield distribution
        # What was installed of a checkout may ask for less than that does by now.
        for text in distribution.requires or () if key[0] != "pancar" else ():
            marker = Requirement(text).marker
            if marker is None or any(marker.evaluate({"extra": one}) for one in {*wanted.extras, ""}):
                waiting.append(text)


def _packages(extra: str) -> Iterator[Path]:
    for distribution in _distributions(extra):
        for file in distribution.files or ():
            path = Path(os.path.normpath(str(distribution.locate_file(file))))
            if path.is_file():
                yield path
    # How an editable install finds the packages in the checkout.
    yield from Path(sysconfig.get_path("purelib")).glob("__editable__*pancar*")
    for package in PACKAGES[extra]:
        yield from _tree(CHECKOUT / package)


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries, outside of what the image has already, that they are linked with."""
    listed = subprocess.run(["ldd", *programs], check=False, capture_output=True, text=True).stdout
    found = {Path(name) for name in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed, re.MULTILINE)}
    folder = next((path.parent for path in found if path.name.startswith("libc.so")), Path("/lib"))
    return found | {folder / name for name in LOADED_LATER if (folder / name).exists()}


@functools.cache
def _interpreter() -> tuple[Path, ...]:
    standard = _tree(Path(sysconfig.get_path("stdlib")), LEFT_OUT)
    # What is compiled without asserts or docstrings is for an interpreter that was asked to do without.
    plain = (path for path in standard if ".opt-" not in path.name)
    return (*_with_links(Path(sys.executable)), Path(sys.prefix) / "pyvenv.cfg", *plain)


@functools.cache
def _files(extra: str) -> frozenset[Path]:
    files = {*_interpreter(), *_packages(extra)}
    linked = [path for path in files if ".so" in path.suffixes or path.parent.name == "bin"]
    for library in _libraries(linked):
        files.update(_with_links(library))
    return frozenset(files)


def _copies(files: Iterable[Path]) -> tuple[Entry, ...]:
    return tuple(Entry(str(path), path) for path in sorted(files))


def _base() -> tuple[Entry, ...]:
    """What operator and relay have in common, but for Pancar itself."""
    common = frozenset.intersection(*map(_files, PACKAGES))
    return (
        SCRATCH,
        # The loader is named by a path through them.
        *(Entry(f"/{name}", Path(f"/{name}")) for name in ("lib", "lib64") if Path(f"/{name}").is_symlink()),
        *_copies(path for path in common if not _own(path)),
        Entry("/etc/passwd", data=b"nobody:x:65532:65532::/tmp:/\n", mode=0o644),
        Entry("/etc/nsswitch.conf", data=b"hosts: files dns\n", mode=0o644),
    )


def _own(path: Path) -> bool:
    """Whether it is Pancar's, and so in the top layer: that is all that changes from day to day."""
    return any(path.is_relative_to(CHECKOUT / package) for packages in PACKAGES.values() for package in packages)


def pancar(extra: str, reference: str) -> Image:
    """Starts `python -m pancar_{extra}`, as nobody."""
    base = _base()
    below = {entry.source for entry in base}
    files = _files(extra)
    return Image(
        reference,
        (
            base,
            _copies(path for path in files if path not in below and not _own(path)),
            _copies(path for path in files if _own(path)),
        ),
        (sys.executable, "-m", f"pancar_{extra}"),
        user=NOBODY,
        path=f"{Path(sys.executable).parent}:/usr/bin:/bin",
    )


def operator() -> Image:
    return pancar("operator", OPERATOR)


def relay() -> Image:
    return pancar("relay", RELAY)
