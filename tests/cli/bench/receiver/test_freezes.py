"""Freezes by the words of Identifiers for WebRTC's Statistics API."""

import pytest
from pancar_cli.bench.receiver.freezes import Freezes

FPS = 25


def steady(freezes: Freezes, pictures: int = 50) -> float:
    for number in range(pictures):
        freezes.shown(number / FPS)
    return (pictures - 1) / FPS


def test_a_steady_picture_does_not_freeze() -> None:
    freezes = Freezes()
    freezes.ended(steady(freezes) + 1 / FPS)
    assert (freezes.count, freezes.seconds, freezes.pictures) == (0, 0.0, 50)


# At 25 frames a second the average is 40 ms, or with the late one among the thirty up to 5 ms more: 150 ms count.
@pytest.mark.parametrize(("late", "frozen"), [(0.18, False), (0.2, True), (1.0, True)])
def test_a_late_picture_ends_a_freeze_that_lasted_the_whole_interval(late: float, frozen: bool) -> None:
    freezes = Freezes()
    freezes.shown(steady(freezes) + late)
    assert freezes.count == int(frozen)
    assert freezes.seconds == pytest.approx(late if frozen else 0)
    assert freezes.longest == pytest.approx(late)


def test_at_a_slow_pace_three_intervals_count() -> None:
    freezes = Freezes()
    for number in range(40):
        freezes.shown(float(number))
    freezes.shown(39 + 2.9)
    assert freezes.count == 0
    freezes.shown(39 + 2.9 + 4)
    assert freezes.count == 1


def test_a_picture_that_stands_still_to_the_end_is_frozen() -> None:
    freezes = Freezes()
    freezes.ended(steady(freezes) + 3)
    assert freezes.seconds == pytest.approx(3)


def test_counting_anew_keeps_the_pace() -> None:
    freezes = Freezes()
    last = steady(freezes)
    freezes.count_anew()
    freezes.shown(last + 0.5)
    assert (freezes.count, freezes.pictures) == (1, 1)
