"""What an API server would say to an object under a CRD's structural schema, as far as the schema alone decides.

A stand-in for tests that run without a cluster; those in tests/cluster ask a real one. The order is the real one's:
unknown fields first and alone (kubectl asks for strict decoding), then types and bounds, and rules in CEL only where
nothing of that kept them from being checked. Only as much CEL is understood as the operator's rules are made of.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_TOKEN: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"|&&|\|\||[!=]=|<=|\(has\(self\.\w+\) \? 1 : 0\)|has\(self\.\w+\)|[!?:()+]|[\w.]+|\s+'
)
_WORDS: Final = {"&&": " and ", "||": " or ", "!": " not ", "dyn": ""}


@dataclass(frozen=True)
class Refusal:
    """One complaint: the field's path and why."""

    field: str
    why: str
    # Whether it keeps the rules in CEL from being checked.
    blocks: bool = True
    # Whether it is the sentence of such a rule.
    by_rule: bool = False
    # The value, which the real one repeats for every reader of its audit log.
    quoted: str = ""


def refusals(schema: Schema, body: Mapping[str, Any]) -> list[Refusal]:
    """All complaints about an object (its metadata is Kubernetes' own affair, but for rules that look at it)."""
    if unknown := list(_unknown(schema, body, "")):
        return unknown
    value = pruned(schema, body)
    found = list(_mismatches(schema, value, ""))
    return found if any(refusal.blocks for refusal in found) else [*found, *_broken_rules(schema, value, "")]


def pruned(schema: Schema, value: Any) -> Any:
    """`value` without the nulls that fields are taken to be absent for."""
    if isinstance(value, list):
        return [pruned(schema.get("items", {}), inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        below = _below(schema, name)
        if inner is not None or below.get("nullable"):
            kept[name] = pruned(below, inner)
    return kept


def _below(schema: Schema, name: str) -> Schema:
    found: Schema = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
    return found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unknown(schema: Schema, value: Any, path: str) -> Iterator[Refusal]:
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown(schema.get("items", {}), inner, f"{path}[{index}]")
    if isinstance(value, Mapping) and "properties" in schema:
        for name, inner in value.items():
            if name not in schema["properties"]:
                yield Refusal(_join(path, name), "unknown field")
            else:
                yield from _unknown(schema["properties"][name], inner, _join(path, name))


def _mismatches(schema: Schema, value: Any, path: str) -> Iterator[Refusal]:
    if value is None and schema.get("nullable"):
        return
    types = _TYPES[schema["type"]] if "type" in schema else (str, int)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield Refusal(path, f"must be of type {schema.get('type')}")
        return
    if isinstance(value, str):
        yield from _text(schema, value, path)
    elif isinstance(value, list):
        yield from _list(schema, value, path)
    elif isinstance(value, Mapping):
        yield from (Refusal(_join(path, name), "required") for name in schema.get("required", ()) if name not in value)
        if len(value) > schema.get("maxProperties", len(value)):
            yield Refusal(path, "too many")
        for name, inner in value.items():
            if below := _below(schema, name):
                yield from _mismatches(below, inner, _join(path, name))
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield Refusal(path, "out of range", blocks=False)


def _text(schema: Schema, value: str, path: str) -> Iterator[Refusal]:
    if value not in schema.get("enum", (value,)):
        yield Refusal(path, "unsupported value", quoted=value)
    if len(value) > schema.get("maxLength", len(value)):
        yield Refusal(path, "too long")
    if not re.search(schema.get("pattern", ""), value):
        yield Refusal(path, "does not match", blocks=False, quoted=value)


def _list(schema: Schema, value: list[Any], path: str) -> Iterator[Refusal]:
    if len(value) > schema.get("maxItems", len(value)):
        yield Refusal(path, "too many")
    for index, inner in enumerate(value):
        yield from _mismatches(schema["items"], inner, f"{path}[{index}]")
        if schema.get("x-kubernetes-list-type") == "set" and inner in value[:index]:
            yield Refusal(f"{path}[{index}]", "duplicate value", blocks=False)


def _broken_rules(schema: Schema, value: Any, path: str) -> Iterator[Refusal]:
    if value is None:
        return
    for rule in schema.get("x-kubernetes-validations", ()):
        if not evaluated(rule["rule"], value):
            message = evaluated(rule["messageExpression"], value) if "messageExpression" in rule else rule["message"]
            quoted = value if isinstance(value, str) else ""
            yield Refusal(f"{path}{rule.get('fieldPath', '')}", str(message), blocks=False, by_rule=True, quoted=quoted)
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _broken_rules(schema.get("items", {}), inner, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            below = _join(path, name) if "properties" in schema else f"{path}[{name}]"
            yield from _broken_rules(_below(schema, name), inner, below)


class _Self:
    """A value as an expression sees it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getattr__(self, name: str) -> Any:
        value = self._value[name]
        return _Self(value) if isinstance(value, Mapping | str) else value

    def matches(self, pattern: str) -> bool:
        # The end is the end in RE2, in Python also what stands before a last line break.
        return re.search(re.sub(r"\$$", r"\\Z", pattern), self._value) is not None

    def has(self, name: str) -> bool:
        # A null is as good as none, but counts.
        return self._value.get(name) is not None

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Self) and self._value == other._value

    __hash__ = None  # type: ignore[assignment]


def evaluated(expression: str, value: Any) -> Any:
    """The value of an expression in CEL. Raises ValueError where it is beyond what is understood here."""
    tokens: list[str] = []
    at = 0
    while at < len(expression):
        token = _TOKEN.match(expression, at)
        if token is None:
            raise ValueError(f"not understood: {expression[at:]}")
        at = token.end()
        tokens.append(token[0])
    return eval(_python(tokens), {"__builtins__": {}, "self": _Self(value), "size": len})  # noqa: S307 - our own rules


def _python(tokens: list[str]) -> str:
    if "?" in tokens:
        asked = tokens.index("?")
        otherwise = tokens.index(":", asked)
        yes, no = _python(tokens[asked + 1 : otherwise]), _python(tokens[otherwise + 1 :])
        return f"({yes}) if ({_python(tokens[:asked])}) else ({no})"
    spoken = (repr(json.loads(token)) if token.startswith('"') else token for token in tokens)
    translated = "".join(_WORDS.get(token, token) for token in spoken)
    # True adds as 1.
    translated = translated.replace(" ? 1 : 0", "")
    return re.sub(r"has\(self\.(\w+)\)", r"self.has('\1')", translated).strip()
