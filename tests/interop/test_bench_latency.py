"""`pancar bench latency` as it is run, only shorter."""

import pytest
from pancar_cli.bench.latency import latency
from rigs.chromium import CHROMIUM


async def test_the_clock_in_the_picture_is_read_in_the_browser() -> None:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: see tests/install-peers.sh")
    figures = await latency(seconds=6)
    names = [f"latency.{moment}_ms_{percentile}" for moment in ("received", "glass") for percentile in ("p50", "p95")]
    assert [figure.name for figure in figures] == names
    received, received_p95, glass, glass_p95 = (figure.value for figure in figures)
    assert 0 < received <= received_p95
    assert received < glass <= glass_p95
    assert int(figures[0].conditions["frames"]) >= 10
    assert float(figures[0].conditions["encoder_ms"]) > 0
