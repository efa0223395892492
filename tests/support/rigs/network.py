"""A host of its own for a peer: a network namespace on a cable (a veth pair) that can be pulled out.

Pulled out here means that nothing from the host arrives any more, be it data, ACK, FIN or RST, as when a camera loses
its power. The test's own side stays up, so that no packet ever looks for another way.

And a wire, whose far end is such a host too: it loses, delays and reorders as it is told (`pancar_cli.bench.wire`).

Either ends with its test, while others go on beside it. So that no viewer of theirs is reached through a cable that
will be gone, aiortc gathers no address on one that is not of its own process. Nor does it ask the public STUN server
that it knows, whose answer, or its absence, each of them would wait for.
"""

import ipaddress
import os
import random
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import aioice.ice
import pytest
from aiortc import RTCIceGatherer
from pancar_cli.bench.wire.wire import Wire, WireError

# Of all cables there are, those of hosts and of wires.
_CABLES = tuple(ipaddress.ip_network(net) for net in ("10.213.0.0/16", "10.214.0.0/16", "fd2a:6e61::/32"))
# The test's ends of those that this process has laid.
_OURS: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _has_ipv6() -> bool:
    switch = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    return switch.exists() and switch.read_text().strip() == "0"


class Host:
    """Made when constructed, gone with `remove`; `address` is its and `gateway` the test's on the cable, `gateway6` the
    same of IPv6; `command` runs a program there."""

    def __init__(self) -> None:
        self._name = self._inner = "pt" + uuid.uuid4().hex[:10]
        self._here = self._name + "h"
        # A /30, of which many may be in use at once by tests that run in parallel.
        network = random.randrange(1 << 14) * 4  # noqa: S311 (no secret)
        self.gateway, self.address = (f"10.213.{(network + n) >> 8}.{(network + n) & 255}" for n in (1, 2))
        self._beyond = [f"10.215.{(network + n) >> 8}.{(network + n) & 255}" for n in (1, 2)]
        self._gateway6, self._address6 = (f"fd2a:6e61:{network:x}::{n}" for n in (1, 2))
        self._ends = {ipaddress.ip_address(end) for end in (self.gateway, self._gateway6)}
        _OURS.update(self._ends)
        _ip("netns", "add", self._name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("address", "add", f"{self.gateway}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("-n", self._name, "address", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self._name, "link", "set", device, "up")
        if _has_ipv6():
            _ip("address", "add", f"{self._gateway6}/64", "dev", self._here, "nodad")
            _ip("-n", self._name, "address", "add", f"{self._address6}/64", "dev", "eth0", "nodad")

    @property
    def gateway6(self) -> str:
        if not _has_ipv6():
            pytest.skip("this machine has no IPv6")
        return self._gateway6

    @property
    def command(self) -> list[str]:
        return ["ip", "netns", "exec", self._inner]

    def program(self, path: Path, folder: Path) -> Path:
        """A program that runs the one at `path` there, for who takes a path and no command."""
        script = folder / f"{path.name}-on-{self._name}"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(self.command)} {shlex.quote(str(path))} "$@"\n')
        script.chmod(0o700)
        return script

    def unplug(self) -> None:
        _ip("-n", self._name, "route", "add", "blackhole", f"{self.gateway}/32")

    def plug_in(self) -> None:
        _ip("-n", self._name, "route", "del", "blackhole", f"{self.gateway}/32")

    def narrow(self, mtu: int) -> None:
        """From now on the cable carries no packet of more than so many bytes, over IPv4 alone."""
        _ip("link", "set", self._here, "mtu", str(mtu))
        _ip("-n", self._name, "link", "set", "eth0", "mtu", str(mtu))

    def move_behind_router(self, mtu: int) -> None:
        """What runs there from now on has a router before it, and on the way from that such a cable."""
        router, self._inner = self._name, self._name + "i"
        near, far = self._beyond
        _ip("netns", "add", self._inner)
        _ip("-n", router, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", self._inner)
        for namespace, device, address in ((router, "eth1", near), (self._inner, "eth0", far)):
            _ip("-n", namespace, "address", "add", f"{address}/30", "dev", device)
            _ip("-n", namespace, "link", "set", device, "mtu", str(mtu), "up")
        _ip("-n", self._inner, "link", "set", "lo", "up")
        _ip("-n", self._inner, "route", "add", "default", "via", near)
        _ip("netns", "exec", router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        _ip("route", "add", f"{far}/32", "via", self.address)

    def block_udp(self) -> None:
        """From now on its firewall lets no UDP through."""
        if shutil.which("nft") is None:
            pytest.skip("a firewall takes nftables: see tests/install-peers.sh")
        chains = "".join(
            f"chain {hook}_without_udp {{ type filter hook {hook} priority 0; meta l4proto udp counter drop; }}\n"
            for hook in ("input", "output")
        )
        rules = f"table inet firewall {{\n{chains}}}\n"
        subprocess.run([*self.command, "nft", "-f", "-"], input=rules, check=True, capture_output=True, text=True)

    def remove(self) -> None:
        # At once and by name: the namespace itself may outlive its name while sockets in it still close.
        _ip("link", "del", self._here)
        for namespace in {self._name, self._inner}:
            _ip("netns", "del", namespace)
        _OURS.difference_update(self._ends)


def _lasts(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed in _OURS or not any(parsed in cable for cable in _CABLES if cable.version == parsed.version)


@pytest.fixture(scope="session", autouse=True)
def gather_what_lasts() -> Iterator[None]:
    gather = aioice.ice.get_host_addresses

    def lasting(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [address for address in gather(use_ipv4, use_ipv6) if _lasts(address)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aioice.ice, "get_host_addresses", lasting)
        patch.setattr(RTCIceGatherer, "getDefaultIceServers", classmethod(lambda _: []))
        yield


@pytest.fixture
def host() -> Iterator[Host]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace takes root and iproute2")
    made = Host()
    yield made
    made.remove()


@pytest.fixture
def wire() -> Iterator[Wire]:
    try:
        made = Wire()
    except WireError as error:
        pytest.skip(str(error))
    with made:
        yield made
