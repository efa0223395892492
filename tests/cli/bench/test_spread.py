"""How soon the last viewer has a frame, from when each was published and when it came."""

import pytest
from pancar_cli.bench.figures import BenchError
from pancar_cli.bench.spread import Spreads, account

FPS, GOP = 25, 5
PUBLISHED = {number: number / FPS for number in range(100, 120)}
ALWAYS = (0.0, 100.0)


def came(after: float) -> dict[int, float]:
    return {number: at + after for number, at in PUBLISHED.items()}


def test_the_slowest_viewer_counts_and_key_frames_apart() -> None:
    spreads = Spreads()
    slow_keys = {n: at + (0.03 if n % GOP == 0 else 0.001) for n, at in PUBLISHED.items()}
    account(spreads, PUBLISHED, [came(0.002), slow_keys, came(0.01)], ALWAYS, GOP, FPS)
    assert spreads.ordinary == pytest.approx([10] * 16)
    assert spreads.key == pytest.approx([30] * 4)
    assert (spreads.late, spreads.expected) == (0, 60)
    assert spreads.p95() == pytest.approx(10)


def test_what_comes_late_or_never_is_late() -> None:
    spreads = Spreads()
    missing = {number: at for number, at in came(0.001).items() if number != 107}
    late = {**came(0.001), 109: PUBLISHED[109] + 0.05}
    account(spreads, PUBLISHED, [missing, late], ALWAYS, GOP, FPS)
    assert spreads.late == 2
    assert max(spreads.ordinary) == pytest.approx(50)


def test_only_frames_of_the_window_count() -> None:
    spreads = Spreads()
    account(spreads, PUBLISHED, [came(0.001)], (PUBLISHED[105], PUBLISHED[110]), GOP, FPS)
    assert spreads.expected == 5


def test_without_frames_there_is_no_figure() -> None:
    with pytest.raises(BenchError):
        Spreads().p95()
