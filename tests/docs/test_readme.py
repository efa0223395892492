"""What the README tells people to write and to type is what Pancar takes."""

import re
from pathlib import Path

from pancar_operator.manifests import load
from pancar_operator.model import Key

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_manifest_is_taken(tmp_path: Path) -> None:
    (manifest,) = blocks("yaml")
    (tmp_path / "cameras.yaml").write_text(manifest)
    manifests = load([tmp_path / "cameras.yaml"])
    assert list(manifests.cameras) == [Key("default", "simpang-lima")]


def test_verbs_exist() -> None:
    verbs = {verb for block in blocks("sh") for verb in re.findall(r"^make (\w+)", block, re.MULTILINE)}
    verbs |= set(re.findall(r"`make (\w+)`", README))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert verbs >= {"demo", "test", "lint", "bench", "fuzz"}
    assert verbs <= set(phony.split())
