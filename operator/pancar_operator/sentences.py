"""Pydantic's complaints in words for the person who wrote the manifest; called by `manifests` for each problem."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import ErrorDetails

_BLOCK: Final = "must be a block of fields, indented below it"
_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dataclass_type": _BLOCK,
    "dict_type": _BLOCK,
    "list_type": "must be a list, each entry beginning with a dash",
    "tuple_type": "must be a list, each entry beginning with a dash",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_long": "must not be longer than {max_length} characters",
    "too_long": "must not have more than {max_length} entries",
}


def sentence(detail: ErrorDetails, adapter: TypeAdapter[Any]) -> str:
    """What is wrong and what is wanted, without the value that was given."""
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(context)
    if kind == "unexpected_keyword_argument":
        return _unknown(detail["loc"], adapter)
    if kind == "string_type":
        scalar = isinstance(detail["input"], bool | int | float)
        return "must be text; put it in quotes" if scalar else "must be text"
    if kind == "enum":
        return f"must be one of {str(context['expected']).replace(chr(39), '').replace(' or ', ', ')}"
    return detail["msg"]


def _unknown(path: tuple[int | str, ...], adapter: TypeAdapter[Any]) -> str:
    known = _fields(adapter.json_schema(by_alias=True), path[:-1])
    spoken = str(path[-1]).replace("_", "").lower()
    close = get_close_matches(spoken, [name.lower() for name in known], n=1, cutoff=0.7)
    for name in known:
        if close and name.lower() == close[0]:
            return f"is no field that Pancar knows; did you mean {name}?"
    return f"is no field that Pancar knows; here it knows {', '.join(known)}" if known else "is no field here"


def _fields(schema: dict[str, Any], path: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the block at `path`; none where the schema has no such block."""
    definitions = schema.get("$defs", {})
    node: Any = schema
    for step in (*path, None):
        for option in node.get("anyOf", [node]):
            if "$ref" in option:
                node = definitions[option["$ref"].rpartition("/")[2]]
        if step is not None:
            node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
    return list(node.get("properties", {}))
