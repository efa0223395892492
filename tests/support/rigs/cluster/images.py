"""What is in the images that the tests' pods run: a few programs of this machine's. Loaded by `running`."""

import shutil
import subprocess
from pathlib import Path

from rigs.cluster import build
from rigs.cluster.image import Entry, Image
from rigs.cluster.node import SANDBOX_IMAGE

BUSYBOX, COREDNS = "local.test/busybox:1", "local.test/coredns:1"
SCRATCH = Entry("/tmp", mode=0o1777)  # noqa: S108 (in an image)


def sandbox() -> Image:
    return Image(SANDBOX_IMAGE, (Entry("/pause", build.binary("pause")),), ("/pause",))


def coredns() -> Image:
    return Image(COREDNS, (Entry("/coredns", build.binary("coredns")),), ("/coredns",))


def busybox() -> Image:
    """A shell, an HTTP server and client, and the rest of Unix."""
    program = Path(shutil.which("busybox") or "/bin/busybox")
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries = [Entry("/bin/busybox", program), SCRATCH]
    entries += [Entry(f"/bin/{name}", link="busybox") for name in names if name != "busybox"]
    return Image(BUSYBOX, tuple(entries), ())
