"""The test cameras' picture: it moves, and a program can read which frame of which camera it is.

Three rows of sixteen black or white cells lie across the middle: the camera's number and its complement (8 bits each),
the frame's number, its complement. A picture whose complements do not fit is not one of ours, or is damaged. Above them
is noise, so that frames take several packets; below, a bar that moves and the frame's number for people.

Pure and without dependencies: `gst_camera` paints with it under the system's Python, the tests read with it.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

CELLS = 16
ROWS = 3
BLACK, GREY, WHITE = 16, 90, 235
# Segments of a digit as (left, top, right, bottom) in a 4 x 7 grid.
SEGMENTS = ((0, 0, 4, 1), (0, 0, 1, 4), (3, 0, 4, 4), (0, 3, 4, 4), (0, 3, 1, 7), (3, 3, 4, 7), (0, 6, 4, 7))
DIGITS = ("012456", "25", "02346", "02356", "1235", "01356", "013456", "025", "0123456", "012356")


class Seen(NamedTuple):
    """What a picture says of itself."""

    camera: int
    frame: int


def _bits(camera: int, frame: int) -> tuple[int, int, int]:
    return (camera & 0xFF) << 8 | (~camera & 0xFF), frame & 0xFFFF, ~frame & 0xFFFF


def _row_bounds(row: int, height: int) -> tuple[int, int]:
    return (4 + row) * height // 12, (5 + row) * height // 12


def paint(camera: int, frame: int, width: int, height: int) -> bytes:
    """One picture as I420. `width` is a multiple of 16, `height` of 12 and of 2."""
    luma = bytearray(width * height)
    noise_end = _row_bounds(0, height)[0]
    noise = bytes(byte >> 1 for byte in os.urandom(4096))
    luma[: width * noise_end] = (noise * (width * noise_end // len(noise) + 1))[: width * noise_end]
    for row, bits in enumerate(_bits(camera, frame)):
        cell = width // CELLS
        line = b"".join(bytes([WHITE if bits >> (CELLS - 1 - n) & 1 else BLACK]) * cell for n in range(CELLS))
        top, bottom = _row_bounds(row, height)
        luma[width * top : width * bottom] = line * (bottom - top)
    top = _row_bounds(ROWS - 1, height)[1]
    bar = frame * 4 % width
    with_bar = bytearray([GREY]) * width
    with_bar[bar : bar + width // CELLS] = bytes([WHITE]) * len(with_bar[bar : bar + width // CELLS])
    luma[width * top :] = with_bar * (height - top)
    _write(luma, width, top + height // 12, frame, max(1, height // 48))
    tint = bytes([96 + camera * 29 % 64]) * (width * height // 4)
    return bytes(luma) + tint + bytes([128]) * (width * height // 4)


def _write(luma: bytearray, width: int, top: int, number: int, scale: int) -> None:
    for place, digit in enumerate(f"{number % 100_000:05}"):
        for segment in DIGITS[int(digit)]:
            x1, y1, x2, y2 = (scale * edge for edge in SEGMENTS[int(segment)])
            left = scale * (2 + 6 * place)
            for y in range(top + y1, top + y2):
                luma[width * y + left + x1 : width * y + left + x2] = bytes([BLACK]) * (x2 - x1)


def read(luma_at: Callable[[float, float], float]) -> Seen | None:
    """Reads through `luma_at(x, y)`, both 0 to 1 from the upper left; None when the picture is not one of ours."""
    rows = []
    for row in range(ROWS):
        y = (4.5 + row) / 12
        cells = [luma_at((cell + 0.5) / CELLS, y) > (BLACK + WHITE) / 2 for cell in range(CELLS)]
        rows.append(sum(1 << (CELLS - 1 - n) for n, cell in enumerate(cells) if cell))
    camera, frame = rows[0] >> 8, rows[1]
    return Seen(camera, frame) if tuple(rows) == _bits(camera, frame) else None
