"""Names of load balancers: looked up at once when wanted, by the machine's own resolver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pancar_operator.names import Names
from rigs.waiting import eventually

# RFC 6761: the one is on every machine, the other on none.
THERE, NOWHERE = "localhost", "balancer.invalid"


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[tuple[Names, asyncio.Event]]:
    changed = asyncio.Event()
    names = Names(changed.set)
    task = asyncio.create_task(names.run())
    try:
        yield names, changed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_wanted_name_is_looked_up_and_told() -> None:
    async with running() as (names, changed):
        assert names.addresses(THERE) == ()
        names.want({THERE})
        await eventually(changed.is_set, "it is told")
        assert set(names.addresses(THERE)) <= {"127.0.0.1", "::1"}
        assert names.addresses(THERE)


async def test_one_that_is_not_found_holds_up_no_other() -> None:
    async with running() as (names, _):
        names.want({NOWHERE, THERE})
        await eventually(lambda: names.addresses(THERE), "the other")
        assert names.addresses(NOWHERE) == ()


async def test_one_that_is_not_wanted_any_more_is_forgotten() -> None:
    async with running() as (names, _):
        names.want({THERE})
        await eventually(lambda: names.addresses(THERE), "its addresses")
        names.want({NOWHERE})
        await eventually(lambda: not names.addresses(THERE), "it is forgotten")
