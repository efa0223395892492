"""The `pancar bench` command: which benches there are, and at which load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from pancar_cli.bench.figures import BenchError, Figure

NAMES = ("fanout", "start", "join", "ingest", "plan")


def _benches() -> dict[str, Callable[[], Awaitable[list[Figure]]]]:
    # Imported here: aiortc's half a second would be paid by every other command too.
    from pancar_cli.bench.fanout import fanout
    from pancar_cli.bench.ingest import ingest
    from pancar_cli.bench.join import join
    from pancar_cli.bench.plan import plan
    from pancar_cli.bench.start import start

    return {
        "fanout": lambda: fanout(viewers=(50, 100, 200), seconds=15),
        "start": lambda: start(gops_s=(2.0, 10.0), joins=25),
        "join": lambda: join(joins=200),
        "ingest": lambda: ingest(counts=(1, 20), seconds=15),
        "plan": lambda: plan(cameras=10_417, relays=120),
    }


def command(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of: {', '.join(NAMES)}. All when none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Measure what this machine carries, on loopback, with synthetic cameras. Takes about three minutes in all."""
    unknown = [name for name in names or () if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"no bench is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    for name in names or NAMES:
        try:
            figures = asyncio.run(_run(name))
        except BenchError as error:
            typer.secho(f"{name}: {error}", err=True, fg=typer.colors.RED)
            sys.exit(1)
        for figure in figures:
            typer.echo(figure.as_json() if as_json else figure.as_text())


async def _run(name: str) -> list[Figure]:
    return await _benches()[name]()
