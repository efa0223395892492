"""Manifests are checked, without a cluster, against what the cluster of the same version would say."""

import json
import subprocess
from pathlib import Path

import pytest
from rigs import chart
from rigs.cluster import build, schemas, web
from rigs.cluster.helm import OLDEST, Helm


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not build.built():
        pytest.skip("`make cluster` has not built kubeconform yet")
    openapi = json.loads(build.binary("openapi.json").read_text())
    return schemas.write(openapi, tmp_path_factory.mktemp("schemas"))


def conforms(location: str, folder: Path, manifest: object) -> bool:
    """Of one object, or of text with many."""
    file = folder / "manifest.yaml"
    file.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    command = [str(build.binary("kubeconform")), "-strict", "-schema-location", location, str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "could not find schema" not in done.stdout
    return done.returncode == 0


def test_a_good_manifest_conforms(location: str, tmp_path: Path) -> None:
    assert conforms(location, tmp_path, web.deployment("web", replicas=2))
    assert conforms(location, tmp_path, web.service("web", "web", headless=True))


def test_a_wrong_field_deep_inside_is_found(location: str, tmp_path: Path) -> None:
    wrong = web.deployment("web", replicas=2)
    wrong["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    assert not conforms(location, tmp_path, wrong)


def test_a_wrong_type_is_found(location: str, tmp_path: Path) -> None:
    wrong = web.deployment("web", replicas=2)
    wrong["spec"]["replicas"] = "two"
    assert not conforms(location, tmp_path, wrong)


def test_the_chart_conforms(location: str, tmp_path: Path) -> None:
    rendered = Helm(tmp_path)("template", "pancar", OLDEST, "--namespace=cctv", chart.CHART)
    assert conforms(location, tmp_path, rendered)
    assert not conforms(location, tmp_path, rendered.replace("  maxUnavailable:", "  maxUnavailble:"))
