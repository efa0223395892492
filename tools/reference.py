"""A resource's reference page in Markdown from its structural schema; called by `crds`."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pancar_operator.rules import VALIDATIONS

_HEAD: Final = "| Field | Type | Default | |\n|---|---|---|---|\n"
# The sentences that a rule chooses among.
_SENTENCES: Final = re.compile(r' \? ("(?:[^"\\]|\\.)*") : ')
_BOUNDS: Final = {
    "maxLength": "at most {:,} characters",
    "maxItems": "at most {:,} entries",
    "maxProperties": "at most {:,} entries",
}


def page(name: str, version: str, schema: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = [
        f"# {name}\n",
        f"<!-- Made by `make crds` from the operator's model. -->\n\n{schema['description']}",
        f"`apiVersion: {version}`, `kind: {name}`. On a cluster, `kubectl explain {name.lower()}` tells it.\n",
    ]
    for block in ("spec", "status"):
        inner = schema["properties"][block]
        rows = "".join(_rows(inner, ""))
        parts.append(f"## {block}\n\n{inner['description']}\n\n{_HEAD}{rows}")
    rules: dict[tuple[str, ...], list[str]] = {}
    for place, sentences in _rules({**schema, "properties": {"spec": schema["properties"]["spec"]}}, ""):
        rules.setdefault(sentences, []).append(f"`{place or name}`")
    refused = "".join(_refused(places, sentences) for sentences, places in rules.items())
    parts.append(
        "## What is refused\n\n"
        "Beside what the types say, by `pancar up` and by the API server alike:\n\n" + refused
    )  # fmt: skip
    return "\n".join(parts)


def _rows(block: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, field in block.get("properties", {}).items():
        place = f"{path}{name}"
        default = "required" if name in block.get("required", ()) else _default(field)
        yield f"| `{place}` | {_type(field)} | {default} | {field['description']} |\n"
        yield from _rows(field, f"{place}.")
        if "items" in field:
            yield from _rows(field["items"], f"{place}[].")


def _default(field: Mapping[str, Any]) -> str:
    if "properties" in field or "default" not in field:
        return ""
    return f"`{json.dumps(field['default'])}`"


def _type(field: Mapping[str, Any]) -> str:
    bounds = [text.format(field[key]) for key, text in _BOUNDS.items() if key in field]
    if "maximum" in field:
        bounds.append(f"{field['minimum']:,} to {field['maximum']:,}")
    elif "minimum" in field:
        bounds.append(f"at least {field['minimum']:,}")
    return ", ".join([_named(field), *bounds])


def _named(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "amount"
    if "items" in field:
        return f"list of {_named(field['items'])}"
    if "additionalProperties" in field:
        return f"map to {_named(field['additionalProperties'])}"
    if field.get("format") == "date-time":
        return "time"
    plain = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return plain.get(field["type"], "block")


def _refused(places: list[str], sentences: tuple[str, ...]) -> str:
    named = ", ".join(places)
    if len(sentences) == 1:
        return f"- {named} {sentences[0]}\n"
    return f"- {named}\n" + "".join(f"  - {sentence}\n" for sentence in sentences)


def _rules(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Fields and what their rules say."""
    for rule in node.get(VALIDATIONS, ()):
        sentences = [json.loads(text) for text in _SENTENCES.findall(rule.get("messageExpression", ""))]
        yield f"{path}{rule.get('fieldPath', '')}", (*sentences, rule["message"])
    for name, field in node.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}" if path else name)
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(inner := node.get(key), dict):
            yield from _rules(inner, f"{path}{mark}")
