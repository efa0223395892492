"""The moment in a picture's lowest lines is read back exactly, or not at all."""

from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.demo import timecode

moments = st.integers(0, 2**45)


def luma(cells: list[bool]) -> list[int]:
    return [timecode.BRIGHT if bright else timecode.DARK for bright in cells]


@given(moments)
def test_moments_come_back(moment: int) -> None:
    assert timecode.read(luma(timecode.cells(moment))) == moment % timecode.SPAN


@given(moments, st.integers(0, timecode.CELLS - 1))
def test_one_wrong_cell_is_noticed(moment: int, wrong: int) -> None:
    cells = timecode.cells(moment)
    cells[wrong] = not cells[wrong]
    assert timecode.read(luma(cells)) is None


@given(st.lists(st.integers(0, 255), max_size=40))
def test_any_picture_is_read_or_refused(values: list[int]) -> None:
    found = timecode.read(values)
    assert found is None or 0 <= found < timecode.SPAN


def test_a_plain_picture_holds_no_moment() -> None:
    assert timecode.read([16] * timecode.CELLS) is None
    assert timecode.read([235] * timecode.CELLS) is None


@given(moments, st.integers(0, timecode.SPAN - 1))
def test_time_passes_across_the_wrap(moment: int, passed: int) -> None:
    assert timecode.elapsed(moment % timecode.SPAN, (moment + passed) % timecode.SPAN) == passed
