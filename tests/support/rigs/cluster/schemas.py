"""JSON schemas for kubeconform out of a cluster's own OpenAPI document, strict: a field that is not there is refused.

The document is what `kubectl get --raw=/openapi/v2` prints, custom resources included, or the one of the same version
that `build` puts beside the binaries, for when no cluster runs. For tests of the chart.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEFINITIONS = "definitions.json"
# The document calls these strings; the API takes more.
LENIENT: Mapping[str, list[str]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["string", "integer"],
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["string", "number"],
}


def _strict(part: Any) -> Any:
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        return {"$ref": DEFINITIONS + part["$ref"]}
    done = {key: _strict(value) for key, value in part.items() if not key.startswith("x-kubernetes-")}
    if isinstance(properties := part.get("properties"), dict):
        # A schema of schemas has properties whose names mean something to a schema.
        done["properties"] = {name: _strict(value) for name, value in properties.items()}
        if not part.get("x-kubernetes-preserve-unknown-fields"):
            done.setdefault("additionalProperties", False)
    return done


def _kinds(definitions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Definitions that are a kind of object, and which."""
    for name, definition in definitions.items():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1 and "properties" in definition:  # those with many are options, such as DeleteOptions
            yield name, kinds[0]


def write(openapi: Mapping[str, Any], folder: Path) -> str:
    """One file a kind; returns what kubeconform takes as `-schema-location`."""
    definitions = openapi["definitions"]
    strict = {name: _strict(definition) for name, definition in definitions.items()}
    strict |= {name: {"type": types} for name, types in LENIENT.items()}
    (folder / DEFINITIONS).write_text(json.dumps({"definitions": strict}))
    for name, kind in _kinds(definitions):
        version = f"{kind['group']}/{kind['version']}".lstrip("/")
        schema = {**strict[name], "properties": dict(strict[name]["properties"])}
        schema["properties"] |= {"kind": {"enum": [kind["kind"]]}, "apiVersion": {"enum": [version]}}
        parts = (kind["kind"], kind["group"].partition(".")[0], kind["version"])
        (folder / ("-".join(part for part in parts if part).lower() + ".json")).write_text(json.dumps(schema))
    return f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
