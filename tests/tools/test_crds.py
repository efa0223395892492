"""CRDs, the dataclasses they are made from, the reference pages and the chart: one truth, told four times.

The corpus of manifests is held against the schema too; each wrong one says at its top which fields the API server
names, or why it is none of its business. What a real API server says is in tests/cluster.
"""

import dataclasses
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import crds
import pytest
import yaml
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from rigs import chart
from rigs.apiserver import evaluated, refusals
from rigs.chart import CHART, GOOD, ROOT, WRONG

KINDS = {kind.name: kind for kind in crds.KINDS}
CRDS, SCHEMAS = chart.crds(), chart.schemas()
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}{name}", field
        yield from fields(field, f"{path}{name}.")
        yield from fields(field.get("items", {}), f"{path}{name}[].")


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for inner in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from nodes(inner)


def test_what_is_committed_is_what_the_model_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = crds.outputs()
    assert {path: path.read_text() for path in made} == made
    assert sorted(SCHEMAS) == sorted(KINDS)
    written = {*crds.TEMPLATES.iterdir(), *crds.PAGES.iterdir()}
    assert written == set(made), "a file that nothing writes any more"


@each_kind
def test_every_field_is_described(kind: str) -> None:
    found = dict(fields(SCHEMAS[kind]))
    assert len(found) > 30
    # Of metadata the API server lets nobody say anything; it describes it itself.
    assert found.pop("metadata") == {"type": "object"}
    for path, field in found.items():
        assert re.fullmatch(r"[^\n]{8,}\.", field["description"]), path


@each_kind
def test_the_schema_is_structural(kind: str) -> None:
    """As the API server's own validation of CRDs wants it: what it would forbid, ignore or could not decide."""
    for node in nodes(SCHEMAS[kind]):
        assert not node.keys() & {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "title", "uniqueItems", "const"}
        assert not {"properties", "additionalProperties"} <= node.keys()
        assert node.get("additionalProperties") is not False
        assert ("type" in node) != bool(node.get("x-kubernetes-int-or-string"))
        assert node.get("type") not in ("integer", "number") or node["format"] in ("int32", "int64", "double")
        assert set(node.get("required", ())) <= node.get("properties", {}).keys()
        if node.get("type") == "object" and not node.get("properties"):
            kept = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
            assert kept or node is SCHEMAS[kind]["properties"]["metadata"], "its fields would be pruned"
        if node.get("x-kubernetes-list-type") == "set":
            assert node["items"]["type"] == "string"
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"]
        if "default" in node:
            assert not refusals(node, node["default"]), "the API server takes no default that it would refuse"
        for rule in node.get("x-kubernetes-validations", ()):
            # Neither an unbounded cost nor a message that spans lines is taken.
            assert node["type"] != "string" or node["maxLength"] <= 2048
            assert re.fullmatch(r"[^\n]{1,2048}", rule["message"])


@each_kind
def test_rules_are_told_in_the_order_of_their_terms(kind: str) -> None:
    rules = [rule for node in nodes(SCHEMAS[kind]) for rule in node.get("x-kubernetes-validations", ())]
    chosen = [rule for rule in rules if "messageExpression" in rule]
    assert len(chosen) >= (8 if kind == "Camera" else 2)
    for rule in chosen:
        assert rule["messageExpression"].endswith(json.dumps(rule["message"]))


def hints(of: type) -> dict[str, Any]:
    return {name: _bare(hint) for name, hint in typing.get_type_hints(of).items()}


def _bare(hint: Any) -> Any:
    """The type without `| None`."""
    if isinstance(hint, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not types.NoneType)
    return hint


def _default(field: dataclasses.Field[Any]) -> Any:
    """A dataclass field's default as the CRD would state it: none for none, empty values and blocks."""
    value = field.default
    if value is dataclasses.MISSING or value in (None, ()) or isinstance(value, FieldInfo):
        return None
    if dataclasses.is_dataclass(value):
        return None
    return list(value) if isinstance(value, tuple) else value


def _pinned(of: type, schema: dict[str, Any], page: str, path: str) -> None:
    """`of`, its schema and its rows of the page have the same fields, required and optional, with the same defaults."""
    found = {to_camel(field.name): field for field in dataclasses.fields(of)}
    assert found.keys() == schema["properties"].keys(), path
    for name, field in found.items():
        below, place = schema["properties"][name], f"{path}{name}"
        wanted = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        assert (name in schema.get("required", ())) == wanted, place
        default = _default(field)
        stated = below.get("default")
        assert (None if stated == {} else stated) == default, place
        shown = "required" if wanted else f"`{json.dumps(default)}`" if default is not None else ""
        row = rf"^\| `{re.escape(place)}` \| [^|]+ \| {re.escape(shown)} \| {re.escape(below['description'])} \|$"
        assert re.search(row, page, re.MULTILINE), f"{place} is not in the page, or with something else"
        inner = hints(of)[field.name]
        if typing.get_origin(inner) is tuple:
            inner, below, place = _bare(typing.get_args(inner)[0]), below["items"], f"{place}[]"
        if isinstance(inner, type) and issubclass(inner, StrEnum):
            assert below["enum"] == [str(value) for value in inner], place
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            _pinned(inner, below, page, f"{place}.")


@each_kind
def test_dataclasses_schema_and_reference_say_the_same(kind: str) -> None:
    page = (ROOT / "docs" / "reference" / f"{kind.lower()}.md").read_text()
    spec, status = page.split("\n## status\n")
    described = SCHEMAS[kind]["properties"]
    _pinned(hints(KINDS[kind].resource)["spec"], described["spec"], spec, "")
    _pinned(KINDS[kind].status, described["status"], status, "")
    rows = re.findall(r"^\| `(.+?)` \|", page, flags=re.MULTILINE)
    assert rows == [path for block in ("spec", "status") for path, _ in fields(described[block])]


@each_kind
def test_paths_of_columns_selectors_and_scale_lead_somewhere(kind: str) -> None:
    version = CRDS[kind]["spec"]["versions"][0]
    columns = [(column["jsonPath"], column["type"]) for column in version["additionalPrinterColumns"]]
    selectable = [(entry["jsonPath"], "string") for entry in version.get("selectableFields", ())]
    scale = [(path, None) for path in version["subresources"].get("scale", {}).values()]
    for path, wanted in (*columns, *selectable, *scale):
        if path == ".metadata.creationTimestamp":
            continue
        plain = re.sub(r'\[\?\(@\.type=="\w+"\)\]', "[]", path.removeprefix("."))
        found = dict(fields(SCHEMAS[kind]))[plain]
        assert wanted in (None, found["type"]), path


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_the_schema_refuses_the_same_manifests(path: Path) -> None:
    verdict = chart.verdict(path)
    if not verdict.readable:
        return
    bodies = [body for body in chart.objects(path) if body["kind"] in SCHEMAS]
    found = [refusal for body in bodies for refusal in refusals(SCHEMAS[body["kind"]], body)]
    # A rule about the object as a whole names the field in its sentence.
    assert {refusal.field or refusal.why.partition("(")[2].rstrip(")") for refusal in found} == verdict.fields
    assert "hunter2" not in repr(found)
    told = chart.sentences(path)
    for refusal in found:
        if refusal.by_rule:
            spoken = re.sub(r"\[([a-z]+)\]", r".\1", refusal.field)
            assert any(line.endswith(f" {spoken} {refusal.why}".replace("  ", " ")) for line in told), refusal


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_the_schema_takes_the_same_manifests(path: Path) -> None:
    bodies = [body for body in chart.objects(path) if body["kind"] in SCHEMAS]
    assert bodies
    for body in bodies:
        without_status = {name: value for name, value in body.items() if name != "status"}
        assert refusals(SCHEMAS[body["kind"]], without_status) == []


def test_expressions_are_evaluated_as_cel_does() -> None:
    value = {"min": 3, "max": 2, "name": "a\n"}
    assert evaluated('self.name.matches("^a") && !self.name.matches("^a$")', value)
    assert evaluated('self.min <= self.max ? "yes" : has(self.other) ? "perhaps" : "no"', value) == "no"
    counted = "size(dyn(self)) == (has(self.min) ? 1 : 0) + (has(self.max) ? 1 : 0) + (has(self.name) ? 1 : 0)"
    assert evaluated(counted, value)
    assert not evaluated(counted, {"min": 1, "max": None})
    with pytest.raises(ValueError, match="not understood"):
        evaluated("self.min > 1", value)


def test_the_chart_is_whole() -> None:
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert described["name"] == project["name"]
    assert {described["version"], described["appVersion"]} == {project["version"]}
    for made in CRDS.values():
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert made["metadata"]["name"] == f"{made['spec']['names']['plural']}.{made['spec']['group']}"
        assert made["spec"]["names"]["categories"] == ["pancar"]
        assert made["spec"]["versions"][0]["subresources"]["status"] == {}


def test_values_and_their_schema_name_the_same() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    told = {name: below for name, below in schema["properties"].items() if name != "global"}
    _same_keys(values, {**schema, "properties": told}, schema["definitions"])
    templates = [path for path in CHART.glob("templates/**/*") if path.is_file()]
    used = {name for path in templates for name in re.findall(r"\.Values\.([\w.]+)", path.read_text())}
    leaves = set(_leaves(values, ""))
    # A template may take a whole branch, as an image; none may take what there is not.
    assert {leaf for leaf in leaves if not any(f"{leaf}.".startswith(f"{name}.") for name in used)} == set()
    assert {name for name in used if not any(f"{leaf}.".startswith(f"{name}.") for leaf in leaves)} == set()


def _same_keys(values: dict[str, Any], schema: dict[str, Any], definitions: dict[str, Any]) -> None:
    assert values.keys() == schema["properties"].keys()
    assert schema["additionalProperties"] is False
    for name, value in values.items():
        below = schema["properties"][name]
        assert below["description"].endswith(".")
        if "$ref" in below:
            below = definitions[below["$ref"].removeprefix("#/definitions/")]
        # What a pod's spec has is not named here.
        if isinstance(value, dict) and "properties" in below:
            _same_keys(value, below, definitions)


def _leaves(values: dict[str, Any], path: str) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}"
