"""What holds for every test: real peers come from the fixtures below, and under CI nothing is skipped."""

import os
from collections.abc import Generator

import pytest

pytest_plugins = ["rigs.network", "rigs.camera", "rigs.chromium", "rigs.up", "rigs.cluster.fixtures"]
CI = os.environ.get("CI") == "true"


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"under CI=true nothing may be skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report
