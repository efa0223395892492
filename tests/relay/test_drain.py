"""When a relay that was asked to end does end."""

from pancar_relay.drain import Drain


def over_while_busy(drain: Drain, now: float) -> bool:
    return drain.over(now, cameras=3, sessions=2, attached=True)


def test_nobody_asked() -> None:
    assert not Drain(30.0).over(1e9, cameras=0, sessions=0, attached=False)


def test_without_time_to_drain_it_ends_at_once() -> None:
    drain = Drain(0.0)
    drain.ask(100.0)
    assert over_while_busy(drain, 100.0)


def test_it_serves_until_its_cameras_are_elsewhere() -> None:
    drain = Drain(30.0)
    drain.ask(100.0)
    assert drain.asked
    assert not over_while_busy(drain, 129.9)
    assert not drain.over(101.0, cameras=1, sessions=0, attached=True)
    assert drain.over(101.0, cameras=0, sessions=2, attached=True)


def test_it_ends_at_its_deadline_whoever_watches() -> None:
    drain = Drain(30.0)
    drain.ask(100.0)
    assert over_while_busy(drain, 130.0)


def test_with_nobody_attached_only_viewers_count() -> None:
    drain = Drain(30.0)
    drain.ask(100.0)
    assert not drain.over(101.0, cameras=3, sessions=1, attached=False)
    assert drain.over(101.0, cameras=3, sessions=0, attached=False)


def test_asked_twice_it_ends_at_once() -> None:
    drain = Drain(30.0)
    drain.ask(100.0)
    drain.ask(101.0)
    assert over_while_busy(drain, 101.0)


def test_in_a_hurry_it_needs_no_question() -> None:
    drain = Drain(30.0)
    drain.hurry()
    assert over_while_busy(drain, 0.0)
