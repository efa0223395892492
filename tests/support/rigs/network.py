"""A host of its own for a peer: a network namespace on a cable (a veth pair) that can be pulled out.

Pulled out here means that nothing from the host arrives any more, be it data, ACK, FIN or RST, as when a camera loses
its power. The test's own side stays up, so that no packet ever looks for another way.
"""

import os
import random
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import pytest


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Host:
    """Made when constructed, gone with `remove`; `address` is its, `command` runs a program there."""

    def __init__(self) -> None:
        self._name = "pt" + uuid.uuid4().hex[:10]
        self._here = self._name + "h"
        # A /30 of 10.213.0.0/16, of which many may be in use at once by tests that run in parallel.
        network = random.randrange(1 << 14) * 4  # noqa: S311 (no secret)
        self._gateway, self.address = (f"10.213.{(network + n) >> 8}.{(network + n) & 255}" for n in (1, 2))
        _ip("netns", "add", self._name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("address", "add", f"{self._gateway}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("-n", self._name, "address", "add", f"{self.address}/30", "dev", "eth0")
        _ip("-n", self._name, "link", "set", "eth0", "up")

    @property
    def command(self) -> list[str]:
        return ["ip", "netns", "exec", self._name]

    def unplug(self) -> None:
        _ip("-n", self._name, "route", "add", "blackhole", f"{self._gateway}/32")

    def plug_in(self) -> None:
        _ip("-n", self._name, "route", "del", "blackhole", f"{self._gateway}/32")

    def remove(self) -> None:
        # At once and by name: the namespace itself may outlive its name while sockets in it still close.
        _ip("link", "del", self._here)
        _ip("netns", "del", self._name)


@pytest.fixture
def host() -> Iterator[Host]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace takes root and iproute2")
    made = Host()
    yield made
    made.remove()
