"""A tile wants the sub where it is too small to show more."""

from collections.abc import Callable
from typing import Any

import pytest

Script = Callable[..., Any]
HD = {"hasSub": True, "video": {"height": 1080}}


@pytest.mark.parametrize(
    ("height", "info", "before", "wanted"),
    [
        (1080, HD, "main", "main"),
        (300, HD, "main", "sub"),
        (500, HD, "main", "main"),
        (500, HD, "sub", "sub"),
        (700, HD, "sub", "main"),
        (300, HD | {"hasSub": False}, "sub", "main"),
        (300, HD | {"video": None}, "main", "main"),
        (0, HD, "main", "main"),
        (300, None, "main", "main"),
    ],
)
def test_by_its_height(script: Script, height: int, info: dict[str, Any] | None, before: str, wanted: str) -> None:
    asked = {"height": height, "info": info, "before": before}
    assert script("return modules.layers.encodingFor(argument);", asked) == wanted
