"""The `pancar bench` command: which benches there are, and at which load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from pancar_cli.bench.figures import BenchError, Figure, medians

NAMES = ("fanout", "start", "join", "ingest", "plan", "impair", "latency")
Bench = Callable[[float | None], Awaitable[list[Figure]]]


def _benches(full: bool) -> dict[str, Bench]:
    """Each takes how long its measurements last, or None for as long as usual."""
    # Imported here: aiortc's half a second would be paid by every other command too.
    from pancar_cli.bench.fanout import fanout
    from pancar_cli.bench.impair import impair
    from pancar_cli.bench.ingest import ingest
    from pancar_cli.bench.join import join, storm
    from pancar_cli.bench.latency import latency
    from pancar_cli.bench.plan import plan
    from pancar_cli.bench.start import start

    async def joins(seconds: float | None) -> list[Figure]:
        return await join(joins=200) + await storm(rate=100, seconds=seconds or (20 if full else 8))

    viewers = (50, 100, 200, 1000) if full else (50, 200)
    gops_s = (1.0, 2.0, 10.0) if full else (2.0, 10.0)
    counts = (1, 20, 100, 200) if full else (1, 20)
    return {
        "fanout": lambda seconds: fanout(viewers=viewers, seconds=seconds or (15 if full else 10)),
        "start": lambda _: start(gops_s=gops_s, joins=25 if full else 15),
        "join": joins,
        "ingest": lambda seconds: ingest(counts=counts, seconds=seconds or (15 if full else 10)),
        "plan": lambda _: plan(cameras=10_417, relays=120),
        "impair": lambda seconds: impair(seconds=seconds or (60 if full else 20)),
        "latency": lambda seconds: latency(seconds=seconds or (20 if full else 8)),
    }


def command(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of: {', '.join(NAMES)}. All when none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Under the loads and for the times that are aimed at: a quarter of an hour.")
    ] = False,
    runs: Annotated[int, typer.Option(min=1, help="How often; of each figure the median is told.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long each measurement lasts, where that is a choice.")
    ] = None,
) -> None:
    """Measure what this machine carries, on loopback, with synthetic cameras. Takes about five minutes in all."""
    unknown = [name for name in names or () if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"no bench is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    failed = False
    for name in names or NAMES:
        try:
            figures = asyncio.run(_run(name, full, runs, seconds))
        except BenchError as error:
            typer.secho(f"{name}: {error}", err=True, fg=typer.colors.RED)
            failed = True
            continue
        for figure in figures:
            typer.echo(figure.as_json() if as_json else figure.as_text())
    if failed:
        sys.exit(1)


async def _run(name: str, full: bool, runs: int, seconds: float | None) -> list[Figure]:
    bench = _benches(full)[name]
    measured = [await bench(seconds) for _ in range(runs)]
    return measured[0] if runs == 1 else medians(measured)
