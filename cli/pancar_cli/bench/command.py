"""The `pancar bench` command: which benches there are, and at which load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from pancar_cli.bench.fanout import fanout
from pancar_cli.bench.figures import Figure
from pancar_cli.bench.ingest import ingest
from pancar_cli.bench.join import join
from pancar_cli.bench.rig import BenchError
from pancar_cli.bench.start import start

BENCHES: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "fanout": lambda: fanout(viewers=(50, 100, 200), seconds=15),
    "start": lambda: start(gops_s=(2.0, 10.0), joins=25),
    "join": lambda: join(joins=200),
    "ingest": lambda: ingest(counts=(1, 20), seconds=15),
}


def bench(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of: {', '.join(BENCHES)}. All when none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Measure what this machine carries, on loopback, with synthetic cameras. Takes about three minutes in all."""
    unknown = [name for name in names or () if name not in BENCHES]
    if unknown:
        raise typer.BadParameter(f"no bench is called {unknown[0]!r}; there are {', '.join(BENCHES)}")
    for name in names or BENCHES:
        try:
            figures = asyncio.run(_run(name))
        except BenchError as error:
            typer.secho(f"{name}: {error}", err=True, fg=typer.colors.RED)
            sys.exit(1)
        for figure in figures:
            typer.echo(figure.as_json() if as_json else figure.as_text())


async def _run(name: str) -> list[Figure]:
    return await BENCHES[name]()
