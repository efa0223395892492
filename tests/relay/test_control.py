"""Desired states as they are read from the wire, and which of them are too old."""

import pytest
from pancar_proto.v1 import control_pb2 as pb
from pancar_relay.control import Order, read_desired
from pancar_relay.desired import Desired
from pancar_relay.errors import StaleDesiredError
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


@pytest.mark.parametrize("url", ["", "http://192.0.2.1/", "rtsp://admin:x@192.0.2.1/", "RTSP://a@b/"])
def test_a_source_that_cannot_be_pulled_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="kota/taman") as refusal:
        read_desired(pb.Desired(assignments=[assignment("taman", url)]))
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
