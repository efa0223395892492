"""Waiting for what must come true, without holding up the loop."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

import pytest

T = TypeVar("T")


@overload
async def eventually(probe: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = ...) -> T: ...
@overload
async def eventually(probe: Callable[[], T | None], what: str, *, seconds: float = ...) -> T: ...
async def eventually(probe: Callable[[], Any], what: str, *, seconds: float = 60.0) -> Any:
    """Asks `probe` until it answers something true, and returns that; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        # Known before it is asked: whoever was held up meanwhile asks once more.
        late = time.monotonic() > deadline
        asked = probe()
        answer = await asked if inspect.isawaitable(asked) else asked
        if answer:
            return answer
        if late:
            pytest.fail(f"not within {seconds:g} s: {what}; the last answer was {answer!r}")
        await asyncio.sleep(0.05)
