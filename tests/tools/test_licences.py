"""Which licence expressions the check lets through."""

import pytest
from licences import acceptable


@pytest.mark.parametrize(
    "expression",
    [
        "MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 AND ISC",
        "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
        "Apache License, Version 2.0",
    ],
)
def test_can_be_met(expression: str) -> None:
    assert acceptable(expression)


@pytest.mark.parametrize(
    "expression", ["", "GPL-2.0-or-later", "MIT AND AGPL-3.0-only", "(GPL-3.0-only OR LGPL-3.0-only) AND MIT"]
)
def test_cannot_be_met(expression: str) -> None:
    assert not acceptable(expression)
