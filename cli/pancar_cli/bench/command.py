"""The `pancar bench` command: which benches there are, and at which load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from pancar_cli.bench.figures import BenchError, Figure, medians

NAMES = ("fanout", "start", "join", "ingest", "plan", "impair", "latency")
# Only where it is asked for by name: it takes an hour.
LONG = ("soak",)
Bench = Callable[[], Awaitable[list[Figure]]]


@dataclass(frozen=True, slots=True)
class _Load:
    """What the command line says of the load; None is as usual, by `full`."""

    full: bool
    seconds: float | None
    viewers: list[int] | None
    cameras: list[int] | None


def _benches(load: _Load) -> dict[str, Bench]:
    # Imported here: aiortc's half a second would be paid by every other command too.
    from pancar_cli.bench.fanout import fanout
    from pancar_cli.bench.impair import impair
    from pancar_cli.bench.ingest import ingest
    from pancar_cli.bench.join import join, storm
    from pancar_cli.bench.latency import latency
    from pancar_cli.bench.plan import plan
    from pancar_cli.bench.soak import soak
    from pancar_cli.bench.start import start

    full, given = load.full, load.seconds
    viewers = load.viewers or ([50, 100, 200, 1000] if full else [50, 200])
    counts = load.cameras or ([1, 20, 100, 200] if full else [1, 20])
    gops_s = (1.0, 2.0, 10.0) if full else (2.0, 10.0)

    async def joins() -> list[Figure]:
        return await join(joins=200) + await storm(rate=100, seconds=given or (20 if full else 8))

    return {
        "fanout": lambda: fanout(viewers=viewers, seconds=given or (15 if full else 8)),
        "start": lambda: start(gops_s=gops_s, joins=25 if full else 12),
        "join": joins,
        "ingest": lambda: ingest(counts=counts, seconds=given or (15 if full else 8)),
        "plan": lambda: plan(cameras=10_417, relays=120),
        "impair": lambda: impair(seconds=given or (60 if full else 20)),
        "latency": lambda: latency(seconds=given or (20 if full else 8)),
        "soak": lambda: soak(cameras=(load.cameras or [200])[0], seconds=given or 3600),
    }


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"Any of: {', '.join((*NAMES, *LONG))}. All but {', '.join(LONG)} when none."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Under the loads and for the times that are aimed at: a quarter of an hour.")
    ] = False,
    runs: Annotated[int, typer.Option(min=1, help="How often; of each figure the median is told.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long each measurement lasts, where that is a choice.")
    ] = None,
    viewers: Annotated[list[int] | None, typer.Option(min=1, help="How many viewers `fanout` has. Repeatable.")] = None,
    cameras: Annotated[
        list[int] | None, typer.Option(min=1, help="How many cameras `ingest` and `soak` have. Repeatable.")
    ] = None,
) -> None:
    """Measure what this machine carries, on loopback, with synthetic cameras. Takes about five minutes in all."""
    unknown = [name for name in names or () if name not in NAMES + LONG]
    if unknown:
        raise typer.BadParameter(f"no bench is called {unknown[0]!r}; there are {', '.join(NAMES + LONG)}")
    load = _Load(full, seconds, viewers, cameras)
    failed = False
    for name in names or NAMES:
        try:
            figures = asyncio.run(_run(name, load, runs))
        except BenchError as error:
            typer.secho(f"{name}: {error}", err=True, fg=typer.colors.RED)
            failed = True
            continue
        for figure in figures:
            typer.echo(figure.as_json() if as_json else figure.as_text())
    if failed:
        sys.exit(1)


async def _run(name: str, load: _Load, runs: int) -> list[Figure]:
    bench = _benches(load)[name]
    measured = [await bench() for _ in range(runs)]
    return measured[0] if runs == 1 else medians(measured)
