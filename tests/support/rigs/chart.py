"""The chart as far as it can be read without Helm: its CRDs, and what the corpus of manifests says of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pancar_operator.marked import documents

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "pancar"
CORPUS = ROOT / "tests" / "operator" / "manifests"
WRONG = sorted((CORPUS / "wrong").glob("*.yaml"))
GOOD = sorted((CORPUS / "good").iterdir())


def rendered(path: Path) -> dict[str, Any]:
    """A template of a CRD as Helm would render it where crds.install holds."""
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("{{- if .Values.crds.install }}", "{{- end }}")
    text = "\n".join(lines[1:-1])
    assert "{{" not in text
    assert "}}" not in text
    made: dict[str, Any] = yaml.safe_load(text)
    return made


def crds() -> dict[str, dict[str, Any]]:
    """All CRDs by kind."""
    made = map(rendered, sorted(CHART.glob("templates/crds/*.yaml")))
    return {crd["spec"]["names"]["kind"]: crd for crd in made}


def schemas() -> dict[str, dict[str, Any]]:
    """Their schemas by kind."""
    return {kind: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind, crd in crds().items()}


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file, those in a List one by one."""
    for document in documents(path.read_text()):
        value = document.value
        if isinstance(value, dict):
            items = value.get("items") if value.get("kind") == "List" else [value]
            assert isinstance(items, list)
            yield from items


@dataclass(frozen=True)
class Verdict:
    """What a wrong manifest says at its top of the API server: the fields it names, or why it is not asked."""

    fields: frozenset[str]
    not_asked: str = ""

    @property
    def readable(self) -> bool:
        """Whether an API server could be asked at all."""
        return self.not_asked not in ("kubectl reads no YAML of it", "kubectl finds no such kinds")


def verdict(path: Path) -> Verdict:
    lines = re.findall(r"^# (API server|Not for the API server): (.+)$", path.read_text(), flags=re.MULTILINE)
    assert len(lines) == 1, f"{path.name} must say once what the API server makes of it"
    ((judge, said),) = lines
    return Verdict(frozenset(said.split(", "))) if judge == "API server" else Verdict(frozenset(), said)


def sentences(path: Path) -> list[str]:
    """What `pancar up` says to a wrong manifest, without the line."""
    return re.findall(r"^# \d+: (.+)$", path.read_text(), flags=re.MULTILINE)
