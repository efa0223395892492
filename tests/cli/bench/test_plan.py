"""The bench of the planner: what it tells, and that a city is planned as fast as it shall be."""

import json

from pancar_cli.bench.plan import plan

# CPU of the fixed loop on the machine the bounds are for; a slower or busier one takes as much longer for both.
_LOOP_MS = 30.0


async def test_a_city_is_planned_within_its_time() -> None:
    """10,417 cameras on 120 relays: 300 ms from nothing, 20 ms after one change."""
    figures = [json.loads(figure.as_json()) for figure in await plan(cameras=10_417, relays=120)]
    assert [figure["figure"] for figure in figures] == ["plan.cold_ms"] + ["plan.one_change_ms"] * 3
    for figure in figures:
        conditions = figure["conditions"]
        assert (conditions["cameras"], conditions["relays"], figure["unit"]) == (10_417, 120, "ms")
        reach = 300 if figure["figure"] == "plan.cold_ms" else 20
        assert 0 < figure["value"] <= reach * conditions["loop_ms"] / _LOOP_MS, figure
