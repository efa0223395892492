"""The wire as the kernel has it: what comes out at the other end, and that nothing of it stays."""

import os
import signal
import socket
import subprocess
import time

import pytest
from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire, WireError

# linux/udp.h
UDP_SEGMENT = 103
HEADERS = 28


def near_socket(wire: Wire) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((wire.near, 0))
    made.settimeout(5)
    return made


def received(end: socket.socket, count: int) -> list[bytes]:
    end.settimeout(5)
    return [end.recv(2048) for _ in range(count)]


def test_a_segmented_send_crosses_as_packets_that_are_lost_one_by_one(wire: Wire) -> None:
    with near_socket(wire) as near, wire.socket() as far:
        near.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
        sent = [bytes([number]) * 1200 for number in range(39)] + [b"\xff" * 100]
        near.sendto(b"".join(sent), far.getsockname())
        assert received(far, 40) == sent
        to_far, _ = wire.counts()
        assert (to_far.taken, to_far.largest) == (40, 1200 + HEADERS)
        wire.change(to_far=Impairment(loss=0.31))
        for _ in range(10):
            near.sendto(b"".join(sent), far.getsockname())
        while (to_far := wire.counts()[0]).taken < 440:
            time.sleep(0.01)
        # Were a send of forty lost as a whole, it would be a multiple of that.
        assert 60 < to_far.lost < 180
        assert to_far.lost % 40
        assert to_far.overrun == 0


def test_each_way_has_its_own_impairment_and_may_change(wire: Wire) -> None:
    with near_socket(wire) as near, wire.socket() as far:
        far.settimeout(5)
        round_trips = []
        for delays in ((0.0, 0.0), (0.05, 0.0), (0.05, 0.1)):
            wire.change(to_far=Impairment(delay=delays[0]), to_near=Impairment(delay=delays[1]))
            since = time.monotonic()
            near.sendto(b"ping", far.getsockname())
            far.sendto(*far.recvfrom(100))
            near.recv(100)
            round_trips.append(time.monotonic() - since - sum(delays))
        # Never early; late only as far as the machine is.
        assert all(-1e-4 < late < 4 for late in round_trips)


def test_a_program_runs_at_the_far_end(wire: Wire) -> None:
    addresses = subprocess.run([*wire.command, "ip", "-br", "address"], check=True, capture_output=True, text=True)
    assert wire.far in addresses.stdout
    assert "eth0" not in addresses.stdout


def test_what_no_path_can_do_breaks_no_wire(wire: Wire) -> None:
    with pytest.raises(ValueError, match="loss"):
        wire.both(Impairment(loss=2))
    assert wire.counts()[0].taken == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_it_dies(number: signal.Signals) -> None:
    try:
        wire = Wire()
    except WireError as error:
        pytest.skip(str(error))
    with wire:
        # Not its name, which the next device may get.
        index = socket.if_nametoindex(wire.device)
        os.kill(wire.pid, number)
        deadline = time.monotonic() + 10
        while index in (each for each, _ in socket.if_nameindex()):
            assert time.monotonic() < deadline, "the device is still there"
            time.sleep(0.01)
        with pytest.raises(WireError, match="gone"):
            wire.counts()
