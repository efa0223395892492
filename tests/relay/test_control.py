"""Desired states as they are read from the wire, and which of them are too old."""

import pytest
from pancar_proto.v1 import control_pb2 as pb
from pancar_relay.control import Identity, Order, hello, read_desired
from pancar_relay.desired import Desired, MediaAddresses, Source
from pancar_relay.errors import StaleDesiredError
from pancar_relay.settings import Capacity
from rigs.relay import PASSWORD, Minter, assignment


def test_an_older_term_is_refused_whatever_its_version() -> None:
    order = Order()
    order.check(Desired(2, 5))
    order.hold(Desired(2, 5))
    order.check(Desired(2, 5))
    order.check(Desired(2, 6))
    order.check(Desired(3, 1))
    for stale in (Desired(1, 9), Desired(2, 4)):
        with pytest.raises(StaleDesiredError):
            order.check(stale)


def test_what_the_process_before_was_told_makes_older_states_too_old() -> None:
    order = Order(Desired(7, 3))
    for fresh in (Desired(7, 3), Desired(7, 4), Desired(8, 1)):
        order.check(fresh)
    for stale in (Desired(6, 9), Desired(7, 2)):
        with pytest.raises(StaleDesiredError):
            order.check(stale)


def test_hello_says_what_the_relay_lives_by() -> None:
    media = MediaAddresses(udp=(("192.0.2.1", 8801), ("2001:db8::1", 8801)), tcp=(("192.0.2.1", 8802),))
    identity = Identity("7f1c", "pancar/kota", "1", "https://192.0.2.1:8443", media, Capacity(2, 3, 4))
    first = hello(identity, None)
    assert list(first.media_addresses) == ["192.0.2.1:8801", "[2001:db8::1]:8801"]
    assert list(first.media_tcp_addresses) == ["192.0.2.1:8802"]
    assert (first.term, list(first.holding)) == (0, [])
    assert (first.capacity.cameras, first.capacity.viewers, first.capacity.egress_mbps) == (2, 3, 4)
    state = read_desired(pb.Desired(term=7, version=3, assignments=[assignment("taman", "rtsp://192.0.2.1/")]))
    again = hello(identity, state)
    assert (again.term, [(key.namespace, key.name) for key in again.holding]) == (7, [("kota", "taman")])


def test_media_addresses_are_read() -> None:
    udp, tcp = ["203.0.113.7:30801", "[2001:db8::7]:30801"], ["203.0.113.7:30802"]
    read = read_desired(pb.Desired(media_addresses=udp, media_tcp_addresses=tcp))
    assert read.media_addresses.udp == (("203.0.113.7", 30801), ("2001:db8::7", 30801))
    assert read.media_addresses.tcp == (("203.0.113.7", 30802),)


@pytest.mark.parametrize("address", ["", "203.0.113.7", "203.0.113.7:0", "0.0.0.0:30801", "kota.example:30801"])
def test_a_media_address_that_nobody_could_send_to_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="media address"):
        read_desired(pb.Desired(media_addresses=[address]))
    with pytest.raises(ValueError, match="media address"):
        read_desired(pb.Desired(media_tcp_addresses=[address]))


def test_a_sub_is_read_with_what_it_is_pulled_by() -> None:
    sub = pb.Source(url="rtsp://192.0.2.1/sub", transport=pb.TRANSPORT_UDP, username="viewer", password=PASSWORD)
    both = assignment("taman", "rtsp://192.0.2.1/main", sub=sub)
    first, second = read_desired(pb.Desired(assignments=[both, assignment("gate", "rtsp://192.0.2.1/")])).assignments
    assert first.sub == Source("rtsp://192.0.2.1/sub", "udp", "viewer", PASSWORD)
    assert second.sub is None


@pytest.mark.parametrize("url", ["", "http://192.0.2.1/", "rtsp://admin:x@192.0.2.1/", "RTSP://a@b/"])
def test_a_source_that_cannot_be_pulled_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="kota/taman") as refusal:
        read_desired(pb.Desired(assignments=[assignment("taman", url)]))
    assert "admin" not in str(refusal.value)
    with pytest.raises(ValueError, match="kota/taman") as refusal:
        read_desired(pb.Desired(assignments=[assignment("taman", "rtsp://192.0.2.1/", sub=pb.Source(url=url))]))
    assert "admin" not in str(refusal.value)


def test_an_at_sign_in_the_path_is_no_user_info() -> None:
    read_desired(pb.Desired(assignments=[assignment("taman", "rtsp://192.0.2.1/live@main")]))


def test_a_camera_assigned_twice_is_refused() -> None:
    twice = [assignment("taman", "rtsp://192.0.2.1/")] * 2
    with pytest.raises(ValueError, match="twice"):
        read_desired(pb.Desired(assignments=twice))


def test_secrets_stay_out_of_repr(minter: Minter) -> None:
    link = minter.link("code")
    message = pb.Desired(
        assignments=[assignment("taman", "rtsp://192.0.2.1/", password=PASSWORD)], access=minter.access(link)
    )
    shown = repr(read_desired(message))
    assert PASSWORD not in shown
    assert link.token not in shown
