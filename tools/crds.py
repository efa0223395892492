"""Writes the chart's CRDs and their reference pages from the operator's model; `--check` only tells what differs.

Called by `make crds` and `make lint`. The model's JSON schema becomes a structural one, as apiextensions.k8s.io/v1 asks
for: no references, no null beside a type, nothing said twice. What has no counterpart there stops the tool.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pancar_operator.model import API_VERSION, Camera, RelayPool
from pancar_operator.rules import UNQUOTED, VALIDATIONS
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus
from pydantic import TypeAdapter
from reference import page

TEMPLATES: Final = Path("charts/pancar/templates/crds")
PAGES: Final = Path("docs/reference")

# Taken over as they are.
_KEPT: Final = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "maxLength",
    "pattern",
    "maxItems",
    "maxProperties",
    "nullable",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
# Said elsewhere or meaningless there. Rules about a map's keys are dropped too (propertyNames): a schema has no place
# for them, and CEL takes no expression over keys whose length it cannot bound.
_READ: Final = frozenset(
    {
        "$ref",
        "$defs",
        "anyOf",
        "title",
        "description",
        "default",
        "required",
        "properties",
        "items",
        "additionalProperties",
        "propertyNames",
        UNQUOTED,
        VALIDATIONS,
    }
)
_NO_VALUE: Final = "has no value; give it one or remove the line"
_INT32: Final = 2**31


@dataclass(frozen=True)
class Kind:
    """What a CRD says beside its schema."""

    resource: type
    status: type
    plural: str
    short_names: tuple[str, ...]
    # Name, type, JSON path; the wide ones only come with `-o wide`.
    columns: tuple[tuple[str, str, str], ...]
    wide: tuple[tuple[str, str, str], ...]
    selectable: tuple[str, ...] = ()
    scale: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        return self.resource.__name__


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


KINDS: Final = (
    Kind(
        resource=Camera,
        status=CameraStatus,
        plural="cameras",
        short_names=("cam",),
        columns=(
            ("Pool", "string", ".status.pool"),
            ("Relay", "string", ".status.relay"),
            ("Ready", "string", _condition("Ready", "status")),
            ("Reason", "string", _condition("Ready", "reason")),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
        wide=(
            ("Codec", "string", ".status.video.codec"),
            ("District", "string", ".spec.location.district"),
            ("Provider", "string", ".spec.provider.name"),
        ),
        selectable=(".status.relay", ".status.pool"),
    ),
    Kind(
        resource=RelayPool,
        status=RelayPoolStatus,
        plural="relaypools",
        short_names=(),
        columns=(
            ("Relays", "integer", ".status.replicas"),
            ("Serving", "integer", ".status.readyReplicas"),
            ("Ready", "string", _condition("Ready", "status")),
            ("Reason", "string", _condition("Ready", "reason")),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
        wide=(
            ("Wanted", "integer", ".spec.replicas"),
            ("Min", "integer", ".spec.autoscaling.min"),
            ("Max", "integer", ".spec.autoscaling.max"),
            ("Exposure", "string", ".spec.media.exposure"),
            ("Site", "string", ".spec.site"),
        ),
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
)


def structural(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """`node` of Pydantic's JSON schema as a structural schema. Raises ValueError for what it cannot say."""
    node = _resolved(node, definitions)
    if unknown := node.keys() - _READ - set(_KEPT):
        raise ValueError(f"{path or 'the schema'} says {', '.join(sorted(unknown))}, which a CRD cannot")
    made: dict[str, Any] = {"description": node["description"]} if "description" in node else {}
    made |= {key: node[key] for key in _KEPT if key in node}
    if made.get("type") == "integer":
        made["format"] = "int32" if node.get("maximum", _INT32) < _INT32 else "int64"
    elif made.get("type") == "number":
        made["format"] = "double"
    if node.get("default") not in (None, []) and "properties" not in node:
        made["default"] = node["default"]
    made |= _inside(node, definitions, path)
    own = [] if UNQUOTED in node else node.get(VALIDATIONS, [])
    rules = [*own, *_no_nulls(made), *_unquoted(node, definitions)]
    return made | ({VALIDATIONS: rules} if rules else {})


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """`node` with what it refers to; what it says itself wins. That it may be absent is no null."""
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) > 1:
        raise ValueError("a CRD cannot say that a field is of one type or another")
    for option in options:
        node = {**option, **node}
    if "$ref" in node:
        return {**definitions[node["$ref"].rpartition("/")[2]], **node}
    return node


def _inside(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What the schema says about the values inside."""
    if "items" in node:
        # An object of which nothing is said would lose its fields: they are pruned where no schema names them.
        return {"items": structural(node["items"], definitions, f"{path}[]")}
    if "properties" in node:
        required = node.get("required", [])
        properties = {
            name: _property(inner, definitions, f"{path}.{name}", required=name in required)
            for name, inner in node["properties"].items()
        }
        return ({"required": required} if required else {}) | {"properties": properties}
    values = node.get("additionalProperties", False)
    if values is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    return {"additionalProperties": structural(values, definitions, f"{path}.*")} if values else {}


def _property(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str, *, required: bool) -> dict[str, Any]:
    made = structural(node, definitions, path)
    # A block whose fields have defaults has one too, or they would not be set where it is left out.
    if (
        not required
        and "anyOf" not in node
        and any("default" in inner for inner in made.get("properties", {}).values())
    ):
        made["default"] = {}
    return made


def _no_nulls(made: Mapping[str, Any]) -> list[dict[str, str]]:
    """Refuses null where it would be taken for absence: a nullable field keeps it, and this finds it.

    To CEL, too, the field is absent then; but it counts among the fields that there are.
    """
    properties = made.get("properties", {})
    nullable = [name for name, inner in properties.items() if inner.get("nullable")]
    if not nullable:
        return []
    (field,) = nullable
    present = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in properties)
    return [{"rule": f"size(dyn(self)) == {present}", "message": _NO_VALUE, "fieldPath": f".{field}"}]


def _unquoted(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rules of fields that must not be quoted, as rules of their block: blocks are not quoted."""
    rules: list[dict[str, str]] = []
    for name, inner in node.get("properties", {}).items():
        field = _resolved(inner, definitions)
        if UNQUOTED in field:
            if name not in node.get("required", ()):
                raise ValueError(f"{name} may be absent, and its rule would not know")
            for rule in field[VALIDATIONS]:
                moved = {key: text.replace("self.matches(", f"self.{name}.matches(") for key, text in rule.items()}
                rules.append({**moved, "fieldPath": f".{name}"})
    return rules


def schema(kind: Kind) -> dict[str, Any]:
    """The structural schema of a whole object."""
    described = TypeAdapter(kind.resource).json_schema(by_alias=True)
    status = TypeAdapter(kind.status).json_schema(by_alias=True)
    made = structural(described, described["$defs"])
    made["required"] = [name for name in made["required"] if name != "metadata"]
    made["properties"] = {
        "apiVersion": {"type": "string", "description": f"Group and version of the schema: {API_VERSION}."},
        "kind": {"type": "string", "description": f"What the object is: {kind.name}."},
        # The API server describes it, and refuses that anybody else does.
        "metadata": {"type": "object"},
        "spec": made["properties"]["spec"],
        "status": structural(status, status["$defs"]),
    }
    return {key: value for key, value in made.items() if value}


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition."""
    group, _, version = API_VERSION.partition("/")
    columns: list[dict[str, Any]] = [{"name": name, "type": of, "jsonPath": path} for name, of, path in kind.columns]
    # Columns of priority 0 are always shown, the others with -o wide.
    columns += [{"name": name, "type": of, "priority": 1, "jsonPath": path} for name, of, path in kind.wide]
    served: dict[str, Any] = {
        "name": version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}} | ({"scale": dict(kind.scale)} if kind.scale else {}),
    }
    if kind.selectable:
        served["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    names: dict[str, Any] = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "categories": ["pancar"],
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{group}",
            # Uninstalling the chart leaves the cameras.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [served | {"schema": {"openAPIV3Schema": schema(kind)}}],
        },
    }


def outputs() -> dict[Path, str]:
    """All that this tool writes."""
    made: dict[Path, str] = {}
    for kind in KINDS:
        text = yaml.safe_dump(crd(kind), sort_keys=False, width=120)
        header = "# Made by `make crds` from the operator's model.\n"
        made[TEMPLATES / f"{kind.plural}.yaml"] = "{{- if .Values.crds.install }}\n" + header + text + "{{- end }}\n"
        made[PAGES / f"{kind.name.lower()}.md"] = page(kind.name, API_VERSION, schema(kind))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check: bool = parser.parse_args().check
    made = outputs()
    differing = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if check and differing:
        sys.exit("run `make crds`: " + ", ".join(map(str, differing)))
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])


if __name__ == "__main__":
    main()
