"""What cameras send, told when it is known and when it has become another."""

import pytest
from pancar_relay.desired import CameraKey
from pancar_relay.ingest.bitrates import NEWS, PERIOD, Bitrates

TAMAN = CameraKey("kota", "taman")


class Camera:
    """One camera's counter as the engine keeps it."""

    def __init__(self) -> None:
        self.bitrates = Bitrates()
        self.now = 1000.0
        self.received = 0
        self.stream = 1

    def sends(self, kbps: float, periods: int = 1) -> int:
        """How often it was told."""
        told = 0
        for _ in range(periods):
            self.now += PERIOD
            self.received += round(kbps * 125 * PERIOD)
            told += len(self.bitrates.measure({TAMAN: (self.stream, self.received)}, self.now))
        return told


@pytest.fixture
def camera() -> Camera:
    camera = Camera()
    camera.bitrates.measure({TAMAN: (1, 0)}, camera.now)
    return camera


def test_it_is_told_once_it_has_sent_through_a_whole_period(camera: Camera) -> None:
    assert camera.bitrates[TAMAN] == 0
    # Within this one it began to send.
    assert camera.sends(700) == 0
    assert camera.sends(2000) == 1
    assert camera.bitrates[TAMAN] == 2000


def test_what_stays_within_a_quarter_is_no_news(camera: Camera) -> None:
    camera.sends(2000, 3)
    assert camera.sends(2000 * (1 + NEWS), 100) == 0
    assert camera.sends(2000 * (1 - NEWS), 100) == 0
    assert camera.bitrates[TAMAN] == 2000


def test_a_lasting_change_is_told_within_a_minute(camera: Camera) -> None:
    camera.sends(2000, 3)
    assert 1 <= camera.sends(4000, 6) <= 3
    assert camera.bitrates[TAMAN] > 3000


def test_a_moment_is_not(camera: Camera) -> None:
    camera.sends(2000, 3)
    assert camera.sends(3500) == 0
    assert camera.sends(2000, 10) == 0


def test_a_camera_that_fell_silent_keeps_its_figure(camera: Camera) -> None:
    camera.sends(2000, 3)
    assert camera.sends(0, 10) == 0
    # The period in which it comes back is no measure.
    assert camera.sends(100) == 0
    assert camera.sends(2000, 10) == 0
    assert camera.bitrates[TAMAN] == 2000


def test_a_new_stream_counts_from_its_own_beginning(camera: Camera) -> None:
    camera.sends(2000, 3)
    camera.stream, camera.received = 2, 0
    assert camera.sends(2000, 10) == 0
    assert camera.bitrates[TAMAN] == 2000


def test_a_camera_that_went_is_forgotten(camera: Camera) -> None:
    camera.sends(2000, 3)
    assert camera.bitrates.measure({}, camera.now) == []
    assert camera.bitrates[TAMAN] == 0
