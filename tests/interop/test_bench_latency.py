"""`pancar bench latency` as it is run, only shorter."""

import pytest
from pancar_cli.bench.latency import latency
from rigs.chromium import CHROMIUM


async def test_the_clock_in_the_picture_is_read_in_the_browser() -> None:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: see tests/install-peers.sh")
    p50, p95 = await latency(seconds=6)
    assert (p50.name, p95.name) == ("latency.glass_ms_p50", "latency.glass_ms_p95")
    assert 1 < p50.value <= p95.value
    assert int(p50.conditions["frames"]) >= 10
    assert float(p50.conditions["encoder_ms"]) > 0
