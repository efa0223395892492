"""`plan`: CPU that the planner takes for a city, from nothing and after one change.

The machine's own pace is told beside it, as the CPU time of a fixed loop (`loop_ms`): there is no floor to a plan.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pancar_operator.model import (
    Camera,
    CameraSpec,
    Key,
    Metadata,
    Relay,
    RelayPool,
    RelayPoolSpec,
    Snapshot,
    Source,
    Stream,
)
from pancar_operator.plan import plan as planned

from pancar_cli.bench.figures import Figure

_POOL = Key("pancar", "city")
_NAMESPACES = 10
_MBPS = 4
_RUNS = 9
_LOOP = 300_000


async def plan(cameras: int, relays: int) -> list[Figure]:
    """Measures medians of several runs."""
    city = _city(cameras, relays)
    at_rest = replace(
        city, placed=planned(city).assignments, sizes={_POOL: relays}, bitrates=dict.fromkeys(city.cameras, _MBPS)
    )
    new, any_key = Key("district-0", "camera-new"), next(iter(city.cameras))
    changes = {
        "camera added": replace(at_rest, cameras={**city.cameras, new: _camera(new)}),
        "camera edited": replace(at_rest, cameras={**city.cameras, any_key: _camera(any_key)}),
        "relay lost": replace(at_rest, relays=city.relays[1:]),
        "relay outdated": replace(at_rest, relays=(replace(city.relays[0], outdated=True), *city.relays[1:])),
    }
    size: dict[str, float | int | str] = {"cameras": cameras, "relays": relays}
    figures = [_figure("plan.cold_ms", city, size)]
    for change, snapshot in changes.items():
        figures.append(_figure("plan.one_change_ms", snapshot, {**size, "change": change}))
    return figures


def _figure(name: str, snapshot: Snapshot, conditions: dict[str, float | int | str]) -> Figure:
    """The loop runs in turns with the planner: a machine's pace may change from one second to the next."""
    plans, loops = [], []
    for _ in range(_RUNS):
        loops.append(_cpu_ms(_loop))
        plans.append(_cpu_ms(partial(planned, snapshot)))
    return Figure(name, statistics.median(plans), "ms", {**conditions, "loop_ms": round(statistics.median(loops), 1)})


def _city(cameras: int, relays: int) -> Snapshot:
    keys = [Key(f"district-{number % _NAMESPACES}", f"camera-{number:05}") for number in range(cameras)]
    spec = RelayPoolSpec(replicas=relays)
    pool = RelayPool(metadata=Metadata(name=_POOL.name, namespace=_POOL.namespace), spec=spec)
    return Snapshot(
        cameras={key: _camera(key) for key in keys},
        pools={_POOL: pool},
        relays=tuple(Relay(f"relay-{number}", _POOL, ordinal=number) for number in range(relays)),
        default_pool=_POOL,
    )


def _camera(key: Key) -> Camera:
    spec = CameraSpec(source=Source(main=Stream(url=f"rtsp://192.0.2.1/{key.name}")))
    return Camera(metadata=Metadata(name=key.name, namespace=key.namespace), spec=spec)


def _cpu_ms(work: Callable[[], object]) -> float:
    since = time.process_time()
    work()
    return (time.process_time() - since) * 1e3


def _loop() -> int:
    total = 0
    for number in range(_LOOP):
        total += number * number & 7
    return total
