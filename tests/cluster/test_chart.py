"""The chart as Helm sees it, without a cluster."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rigs import chart
from rigs.cluster import build

# The oldest that the chart takes; without a cluster Helm would assume its own.
KUBE_VERSION = "--kube-version=1.31.0"

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    if not build.built():
        pytest.skip("`make cluster` has not built helm yet")
    own = {name: str(tmp_path) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}

    def run(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(build.binary("helm")), verb, *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **own})

    return run


def test_lint_finds_nothing(helm: Helm) -> None:
    done = helm("lint", "--strict", str(chart.CHART))
    assert done.returncode == 0, done.stdout


def test_crds_come_as_they_are_read_here(helm: Helm) -> None:
    done = helm("template", "pancar", KUBE_VERSION, str(chart.CHART))
    assert done.returncode == 0, done.stderr
    made = {crd["spec"]["names"]["kind"]: crd for crd in yaml.safe_load_all(done.stdout) if crd}
    assert made == chart.crds()


def test_crds_stay_out_where_they_are_not_wanted(helm: Helm) -> None:
    done = helm("template", "pancar", KUBE_VERSION, str(chart.CHART), "--set=crds.install=false")
    assert done.returncode == 0, done.stderr
    assert "CustomResourceDefinition" not in done.stdout


@pytest.mark.parametrize("wrong", ["crds.instal=true", "crds.install=perhaps", "operator=none"])
def test_values_that_mean_nothing_are_refused(helm: Helm, wrong: str) -> None:
    done = helm("template", "pancar", KUBE_VERSION, str(chart.CHART), f"--set={wrong}")
    assert done.returncode != 0
    assert "schema" in done.stderr
