"""YAML documents as plain values together with the line each of them stands on; `manifests` reads files through this.

Built on libyaml's events rather than on PyYAML's constructor for three reasons: values must come out as Kubernetes
reads them (22:30 is text there, and the number 81000 with PyYAML), every value keeps its line, and hostile input must
stay cheap (depth and expanded size are bounded; composing is recursive in C). No message repeats a part of the text.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 40
MAX_VALUES: Final = 1_000_000

# libyaml's parser is ten times faster; some platforms' wheels come without it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*|0o?[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_QUOTED: Final = re.compile(r"(['\"])(?!.\1).*?\1")
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_CORE_TAGS: Final = frozenset({None, "!", _STRING_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class YamlError(Exception):
    """The text is no YAML that a manifest may be written in."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(slots=True)
class Lines:
    """Where a value stands, and where the values inside it do; lines count from 1."""

    line: int
    inside: dict[object, "Lines"] = field(default_factory=dict)

    def find(self, path: tuple[object, ...]) -> "Lines":
        """The place of the value at `path`, or of the innermost value on the way to it that is there."""
        place = self
        for step in path:
            if step not in place.inside:
                break
            place = place.inside[step]
        return place


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: None, a number, a text, a list or a dict, and its lines."""

    value: object
    lines: Lines


@dataclass(slots=True)
class _Built:
    value: Any
    lines: Lines
    size: int = 1


def documents(text: str) -> Iterator[Document]:
    """The documents of `text`, empty ones left out. Raises YamlError."""
    try:
        events = yaml.parse(text, Loader=_LOADER)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                built = _Builder(events).value(next(events), 0)
                if built.value is not None:
                    yield Document(built.value, built.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, _reason(error)) from None
    except (yaml.YAMLError, UnicodeError):
        raise YamlError(1, "is no text: it holds control characters or is not UTF-8") from None


def _reason(error: yaml.MarkedYAMLError) -> str:
    # PyYAML's own scanner quotes what it stumbled over, which may be a password; libyaml's messages are constants.
    problem = _QUOTED.sub("…", error.problem or "cannot be read")
    context = _QUOTED.sub("…", error.context or "")
    return f"is no valid YAML: {f'{context}, ' if context else ''}{problem}; check indentation, quotes and colons"


class _Builder:
    """Builds one document from parser events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, _Built] = {}
        self._values = 0

    def value(self, event: Any, depth: int) -> _Built:
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise YamlError(line, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            built = self._alias(event, line)
        elif isinstance(event, yaml.ScalarEvent):
            built = _Built(_scalar(event, line), Lines(line))
        elif isinstance(event, yaml.SequenceStartEvent):
            built = self._sequence(event, line, depth)
        else:
            built = self._mapping(event, line, depth)
        self._values += built.size if isinstance(event, yaml.AliasEvent) else 1
        if self._values > MAX_VALUES:
            raise YamlError(line, "holds too many values; split it into several documents")
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = built
        return built

    def _alias(self, event: Any, line: int) -> _Built:
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            raise YamlError(line, "begins with '*' but refers to no anchor; put the value in quotes if it is text")
        return _Built(anchored.value, Lines(line, anchored.lines.inside), anchored.size)

    def _sequence(self, event: Any, line: int, depth: int) -> _Built:
        _refuse_tag(event, line)
        built = _Built([], Lines(line))
        while not isinstance(following := next(self._events), yaml.SequenceEndEvent):
            item = self.value(following, depth + 1)
            built.lines.inside[len(built.value)] = item.lines
            built.value.append(item.value)
            built.size += item.size
        return built

    def _mapping(self, event: Any, line: int, depth: int) -> _Built:
        _refuse_tag(event, line)
        built = _Built({}, Lines(line))
        merged: list[_Built] = []
        while not isinstance(following := next(self._events), yaml.MappingEndEvent):
            key_line = following.start_mark.line + 1
            is_merge = isinstance(following, yaml.ScalarEvent) and following.value == "<<" and following.implicit[0]
            key = self.value(following, depth + 1).value
            item = self.value(next(self._events), depth + 1)
            built.size += item.size
            if is_merge:
                merged.append(item)
                continue
            if not isinstance(key, str):
                raise YamlError(key_line, "has a field name that is no text; put it in quotes")
            if key in built.value:
                raise YamlError(key_line, "repeats a field that stands above in the same block")
            built.value[key] = item.value
            built.lines.inside[key] = Lines(key_line, item.lines.inside)
        for item in merged:
            _merge(built, item, line)
        return built


def _merge(built: _Built, item: _Built, line: int) -> None:
    """Fills in what `<<` brings; what the mapping says itself wins."""
    sources = item.value if isinstance(item.value, list) else [item.value]
    for source in sources:
        if not isinstance(source, Mapping):
            raise YamlError(line, "merges ('<<') something that is no block of fields")
        for key, value in source.items():
            if key not in built.value:
                built.value[key] = value
                built.lines.inside[key] = item.lines


def _refuse_tag(event: Any, line: int) -> None:
    if event.tag not in _CORE_TAGS:
        raise YamlError(line, "begins with '!', a YAML tag; put the value in quotes if it is text")


def _scalar(event: Any, line: int) -> object:
    _refuse_tag(event, line)
    text: str = event.value
    if event.tag is not None or event.style in ("'", '"', "|", ">"):
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    return _number(text, line)


def _number(text: str, line: int) -> object:
    if len(text) > 64:
        return text
    if _INTEGER.fullmatch(text):
        digits = text.replace("_", "")
        sign = -1 if digits.startswith("-") else 1
        digits = digits.lstrip("+-").lower()
        if re.fullmatch(r"0[0-7]+", digits):
            return sign * int(digits, 8)
        try:
            return sign * int(digits, 0)
        except ValueError:
            raise YamlError(line, "looks like a number but is none; put it in quotes if it is text") from None
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    if _FLOAT.fullmatch(text) or _INFINITE.fullmatch(text):
        raise YamlError(line, "is a number without bound; put it in quotes if it is text")
    return text
