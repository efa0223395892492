"""The grid holds every tile within the screen, as large as they can be, in the order that people count; arrow keys walk
it."""

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import pytest

Script = Callable[..., Any]
GAP = 4
GRIDS = "return Array.from({ length: 116 }, (_, count) => modules.layout.bestGrid(count, ...argument));"


def widest(count: int, width: int, height: int) -> int:
    """By trying every number of columns."""
    found = 0.0
    for columns in range(1, count + 1):
        rows = ceil(count / columns)
        found = max(found, min((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows * 16 / 9))
    return floor(found)


@pytest.mark.parametrize(("width", "height"), [(1920, 1036), (3840, 2116), (1280, 676), (900, 1160), (5760, 1040)])
def test_up_to_a_war_rooms_wall(script: Script, width: int, height: int) -> None:
    for count, grid in enumerate(script(GRIDS, [width, height, GAP])):
        if count == 0:
            assert grid["columns"] == 1
            continue
        assert grid["columns"] * grid["rows"] >= count
        assert grid["columns"] * (grid["width"] + GAP) - GAP <= width
        assert grid["rows"] * (grid["height"] + GAP) - GAP <= height
        assert grid["width"] == widest(count, width, height)


def test_a_screen_without_room(script: Script) -> None:
    grid = script("return modules.layout.bestGrid(12, 0, 0, 4);")
    assert grid["width"] == 0


def test_arrow_keys(script: Script) -> None:
    body = "return argument.map(([index, key]) => modules.layout.neighbour(index, key, 10, 4));"
    steps = [
        [0, "ArrowRight"], [0, "ArrowLeft"], [1, "ArrowDown"], [9, "ArrowUp"], [7, "ArrowDown"], [9, "ArrowRight"],
        [4, "Home"], [4, "End"], [4, "x"],
    ]  # fmt: skip
    assert script(body, steps) == [1, 0, 5, 5, 7, 9, 0, 9, 4]


def test_names_are_in_the_order_that_people_count(script: Script) -> None:
    ordered = [
        "city/gate", "city/gate-01", "city/gate-1", "city/gate-2", "city/gate-10", "city/gate-a",
        "kota/9th-street", "kota/10",
    ]  # fmt: skip
    for names in (ordered[::-1], sorted(ordered)):
        found = script("return argument.sort(modules.layout.byName);", names)
        assert found == ordered
    assert script("return modules.layout.byName(argument, argument);", "city/gate") == 0
