"""Figures of several runs."""

from pancar_cli.bench.figures import Figure, medians


def test_the_run_in_the_middle_is_told_with_its_floor() -> None:
    runs = [
        [Figure("a", value, "ms", {"frames": value}, floor=value / 2), Figure("b", -value, "")]
        for value in (3.0, 1.0, 2.0)
    ]
    assert medians(runs) == [
        Figure("a", 2.0, "ms", {"frames": 2.0, "runs": 3}, floor=1.0),
        Figure("b", -2.0, "", {"runs": 3}),
    ]
