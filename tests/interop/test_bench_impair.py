"""`pancar bench impair` as it is run, only shorter."""

import pytest
from pancar_cli.bench.impair import impair
from pancar_cli.bench.wire.impairment import Impairment


@pytest.mark.usefixtures("wire")
async def test_each_figure_is_told_with_its_conditions() -> None:
    cases = (Impairment(loss=0.1), Impairment(loss=1.0))
    figures = await impair(seconds=4, cases=cases)
    told = {(figure.name, figure.conditions.get("loss"), figure.conditions.get("deaf")): figure for figure in figures}
    assert len(told) == len(figures) == 8
    lossy, cut = (told["impair.frozen_ratio", loss, None] for loss in (0.1, 1.0))
    assert lossy.conditions["recovered"] != 0
    assert lossy.value < cut.value
    assert cut.value == pytest.approx(1, abs=0.4)
    for deaf in (0, 1):
        assert told["impair.spread_ms", None, deaf].value > 0
        assert told["impair.late_frames", None, deaf].conditions["expected"] != 0
