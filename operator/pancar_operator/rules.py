"""What must hold for a field, said once and held twice: by Pydantic for files, by CEL in the CRD for the API server.

`values` and `model` are built from these; the CRD's generator reads them from the JSON schema, under VALIDATIONS. Both
sides say the same sentence, and neither repeats what it was given: it may be a password in the wrong place.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Generic, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS: Final = "x-kubernetes-validations"
# Beside VALIDATIONS: the API server must not quote the value in its answer, which its audit log would keep.
UNQUOTED: Final = "x-unquoted"
# A list whose entries are told apart by their type, so that several writers may own some of them each.
KEYED_BY_TYPE: Final[dict[str, Any]] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}

T = TypeVar("T")


@dataclass(frozen=True)
class Pattern:
    """One thing that must hold for a text: it is a match of `pattern`, or, where that is `refused`, contains none.

    The pattern has to mean the same to Python's re and to RE2: no look-around, no back reference, no class like \\d.
    """

    says: str
    pattern: str
    refused: bool = False

    def holds(self, text: str) -> bool:
        if self.refused:
            return self._compiled.search(text) is None
        return self._compiled.fullmatch(text) is not None

    def cel(self, subject: str, *, holds: bool = True) -> str:
        """The same in CEL, or its contrary."""
        pattern = self.pattern if self.refused else f"^(?:{self.pattern})$"
        # A string of JSON is one of CEL too.
        return f"{'!' if self.refused is holds else ''}{subject}.matches({json.dumps(pattern)})"

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)


class Text:
    """Annotates a str for which `patterns` must hold; of those that do not, the first is told.

    `unquoted` is for texts that may hold a password by mistake.
    """

    def __init__(self, *patterns: Pattern, unquoted: bool = False) -> None:
        self.patterns = patterns
        self._unquoted = unquoted

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        marked = {UNQUOTED: True} if self._unquoted else {}
        return {**handler(schema), VALIDATIONS: [self.validation()], **marked}

    def validation(self) -> dict[str, str]:
        """All patterns in one rule, so that the API server tells of one only."""
        *before, last = self.patterns
        told = {"rule": " && ".join(pattern.cel("self") for pattern in self.patterns), "message": last.says}
        if before:
            asked = (f"{pattern.cel('self', holds=False)} ? {json.dumps(pattern.says)} : " for pattern in before)
            told["messageExpression"] = "".join(asked) + json.dumps(last.says)
        return told

    def _checked(self, text: str) -> str:
        for pattern in self.patterns:
            if not pattern.holds(text):
                raise PydanticCustomError("rule", "{says}", {"says": pattern.says})
        return text


class Unique:
    """Annotates a tuple without repetitions: a list of type set to the API server."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-kubernetes-list-type": "set"}

    @staticmethod
    def _checked(value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise PydanticCustomError("rule", "must not have the same entry twice")
        return value


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """What must hold among the fields of a block."""

    cel: str
    says: str
    holds: Callable[[T], bool]


def rule(cel: str, says: str) -> Callable[[Callable[[T], bool]], Rule[T]]:
    """Makes a method of a `schema` class the Python half of a rule, whose other half is `cel`."""
    return lambda holds: Rule(cel, says, holds)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def schema(cls: type[T]) -> type[T]:
    """A frozen type that manifests are parsed into: strict about fields, camelCase outside, with its rules enforced."""
    rules = {name: value for name, value in vars(cls).items() if isinstance(value, Rule)}
    for name, value in rules.items():
        setattr(cls, name, _enforced(value))
    config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)
    if rules:
        told = [{"rule": value.cel, "message": value.says} for value in rules.values()]
        config["json_schema_extra"] = cast("dict[str, Any]", {VALIDATIONS: told})
    return cast("type[T]", pydantic_dataclass(frozen=True, slots=True, kw_only=True, config=config)(cls))


def _enforced(enforced: Rule[T]) -> object:
    def check(self: T) -> T:
        if not enforced.holds(self):
            raise PydanticCustomError("rule", "{says}", {"says": enforced.says})
        return self

    return model_validator(mode="after")(check)
