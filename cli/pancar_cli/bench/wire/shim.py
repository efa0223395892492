"""The process between the two TUN devices: `python -m pancar_cli.bench.wire.shim --seed 1`. Started by `wire`.

The near device is made in the network namespace that the process is started in, the far one in a new namespace, which
the process then lives in and which ends with it. Without offloads (no IFF_VNET_HDR, no TUNSETOFFLOAD) the kernel cuts
UDP_SEGMENT and TCP sends into packets before a TUN device gets them.

Speaks JSON lines. First where the ends are; then for each line on standard input, which may change the impairment of
either direction, what was counted so far. Ends with its standard input.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from pancar_cli.bench.wire.impairment import Direction, Impairment

TUN = Path("/dev/net/tun")
# linux/if_tun.h: TUNSETIFF takes a struct ifreq, of 40 bytes.
_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
_IFREQ = 40
_NAME = 16
_CLONE_NEWNET = 0x40000000
# What the kernel keeps for this process before it loses packets, which `overrun` counts.
_DEVICE_QUEUE = 5000
_READ = 1 << 16
_READS_AT_ONCE = 64
# Of /proc/net/dev: dropped, among what was transmitted.
_TRANSMIT_DROPPED = 11


class Device:
    """One TUN device of the namespace that it is made in: IP packets in and out."""

    def __init__(self, template: str) -> None:
        self.fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack(f"{_NAME}sH", template.encode(), _IFF_TUN_WITHOUT_HEADER).ljust(_IFREQ, b"\0")
        self.name = fcntl.ioctl(self.fd, _TUNSETIFF, request)[:_NAME].rstrip(b"\0").decode()
        # Opened here, it goes on to tell of this namespace.
        self._statistics: TextIO = Path("/proc/thread-self/net/dev").open()  # noqa: SIM115 - as long as the process

    def configure(self, address: str, peer: str) -> None:
        # Without this, IPv6 would send packets of its own now and then.
        _ip("link", "set", self.name, "addrgenmode", "none", "txqueuelen", str(_DEVICE_QUEUE))
        _ip("address", "add", address, "peer", peer, "dev", self.name)
        _ip("link", "set", self.name, "up")

    def read(self) -> list[bytes]:
        """The packets that are there, at most a batch."""
        packets: list[bytes] = []
        try:
            while len(packets) < _READS_AT_ONCE:
                packets.append(os.read(self.fd, _READ))
        except BlockingIOError:
            pass
        return packets

    def overrun(self) -> int:
        """Packets that the kernel lost because this process was too slow."""
        self._statistics.seek(0)
        line = next(line for line in self._statistics if line.strip().startswith(f"{self.name}:"))
        return int(line.partition(":")[2].split()[_TRANSMIT_DROPPED])


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)  # noqa: S603, S607 - iproute2


class Shim:
    """Both devices and what lies between them."""

    def __init__(self, seed: int) -> None:
        near = Device("pancar-wire%d")
        self.device = near.name
        # The kernel numbers devices uniquely: so are their addresses, out of 10.214.0.0/16.
        network = int(near.name.removeprefix("pancar-wire")) * 4 % (1 << 16)
        self.near, self.far = (f"10.214.{host >> 8}.{host & 255}" for host in (network + 1, network + 2))
        near.configure(self.near, self.far)
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "a new network namespace")
        far = Device("wire")
        _ip("link", "set", "lo", "up")
        far.configure(self.far, self.near)
        _ip("route", "add", "default", "dev", far.name)
        self._devices = {"to_far": near, "to_near": far}
        self._outlets = {"to_far": far, "to_near": near}
        self._directions = {name: Direction(2 * seed + index) for index, name in enumerate(self._devices)}

    def answer(self, line: bytes) -> dict[str, object]:
        for name, wanted in json.loads(line).items():
            self._directions[name].impairment = Impairment(**wanted)
        return {
            name: {**asdict(direction.counts), "overrun": self._devices[name].overrun()}
            for name, direction in self._directions.items()
        }

    def run(self) -> None:
        """Until standard input ends."""
        by_fd = {device.fd: name for name, device in self._devices.items()}
        commands = sys.stdin.fileno()
        while True:
            dues = [direction.due for direction in self._directions.values() if direction.due is not None]
            timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
            ready, _, _ = select.select([*by_fd, commands], [], [], timeout)
            now = time.monotonic()
            for fd in ready:
                if name := by_fd.get(fd):
                    for packet in self._devices[name].read():
                        self._directions[name].take(packet, now)
            for name, direction in self._directions.items():
                for packet in direction.release(now):
                    os.write(self._outlets[name].fd, packet)
            if commands in ready:
                line = os.read(commands, _READ)
                if not line:
                    return
                _say(self.answer(line))


def _say(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Parses the command line, makes the ends, and carries packets between them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        shim = Shim(arguments.seed)
    except (OSError, subprocess.CalledProcessError) as error:
        _say({"error": getattr(error, "stderr", "") or str(error)})
        sys.exit(1)
    _say({"near": shim.near, "far": shim.far, "device": shim.device})
    shim.run()


if __name__ == "__main__":
    main()
