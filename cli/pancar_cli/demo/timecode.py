"""The moment of a picture, written into its lowest lines for machines to read, beside the clock for people.

A row of 32 cells across the full width, dark or bright: Unix milliseconds modulo 2**27 (37 hours), highest bit first,
then five bits of check. Cells are large enough to survive the encoder. Drawn by `picture`; read back from decoded
frames by tests and by whoever measures the way from a camera to a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

CELLS = 32
SPAN = 2**27
DARK, BRIGHT = 36, 172
_CHECK = 31


def cells(milliseconds: int) -> list[bool]:
    """The row for a moment in Unix milliseconds; True is bright."""
    moment = milliseconds % SPAN
    word = moment << 5 | _check(moment)
    return [bool(word >> (CELLS - 1 - index) & 1) for index in range(CELLS)]


def read(luma: Sequence[int]) -> int | None:
    """The moment, from the brightness (0 to 255) at the middle of each of the 32 cells; None where the check fails."""
    threshold = (DARK + BRIGHT) / 2
    word = 0
    for value in luma:
        word = word << 1 | (value > threshold)
    moment = word >> 5
    return moment if len(luma) == CELLS and word & 31 == _check(moment) else None


def elapsed(earlier: int, later: int) -> int:
    """Milliseconds from one moment to a later one, across the wrap."""
    return (later - earlier) % SPAN


def _check(moment: int) -> int:
    # 1 to 31: never zero, so that a black picture reads as none.
    return moment % _CHECK + 1
