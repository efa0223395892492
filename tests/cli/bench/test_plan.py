"""The bench of the planner, over a small city."""

import json

from pancar_cli.bench.plan import plan


async def test_each_figure_is_told_with_its_conditions() -> None:
    figures = [json.loads(figure.as_json()) for figure in await plan(cameras=300, relays=4)]
    assert [figure["figure"] for figure in figures] == ["plan.cold_ms"] + ["plan.one_change_ms"] * 4
    for figure in figures:
        assert figure["value"] > 0
        assert figure["conditions"]["loop_ms"] > 0
        assert (figure["conditions"]["cameras"], figure["conditions"]["relays"]) == (300, 4)
