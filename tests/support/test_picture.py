"""The test cameras' picture can be read, and a picture that is damaged is not taken for one."""

import pytest
from rigs.picture import Seen, paint, read


@pytest.mark.parametrize(("camera", "frame"), [(0, 0), (7, 41), (255, 65535)])
def test_reads_what_was_painted(camera: int, frame: int) -> None:
    luma = paint(camera, frame, 320, 240)
    assert read(lambda x, y: luma[int(y * 240) * 320 + int(x * 320)]) == Seen(camera, frame)


def test_damage_is_noticed() -> None:
    luma = bytearray(paint(7, 41, 320, 240))
    cell = range(320 * 90 + 40, 320 * 90 + 60)
    assert len(luma) == 320 * 240 * 3 // 2
    for at in cell:
        luma[at] = 255 - luma[at]
    assert read(lambda x, y: luma[int(y * 240) * 320 + int(x * 320)]) != Seen(7, 41)


def test_no_picture_is_not_taken_for_one() -> None:
    assert read(lambda _x, _y: 0) is None
    assert read(lambda _x, _y: 255) is None
