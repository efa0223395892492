"""Manifest files → `Manifests`: `pancar up` loads through `load`, the fuzz target and tests through `parse`.

A wrong manifest is refused as a whole set, so that what runs keeps running: `ManifestError` lists every problem with
its file, line, field and what to do. No message repeats a value from a file, because it may be a password.

    ManifestError          the declarations are wrong: whoever wrote the files mends them
    └── Problem            one of them
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pancar_proto.logs import redact
from pydantic import TypeAdapter, ValidationError

from pancar_operator.marked import Document, Lines, YamlError, documents
from pancar_operator.model import (
    API_VERSION,
    CREDENTIALS_LABEL,
    Camera,
    Credentials,
    Key,
    Manifests,
    RelayPool,
    Secret,
)
from pancar_operator.sentences import sentence

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
MAX_BYTES: Final = 64 * 1024 * 1024

_KINDS: Final[dict[str, tuple[str, TypeAdapter[Any]]]] = {
    "Camera": (API_VERSION, TypeAdapter(Camera)),
    "RelayPool": (API_VERSION, TypeAdapter(RelayPool)),
    "Secret": ("v1", TypeAdapter(Secret)),
}
# What a folder for Kubernetes holds beside ours, and that means nothing on one machine.
_PASSED_OVER: Final = frozenset({("v1", "Namespace")})
# Written by the API server into what it hands out; accepted, so that an exported object can be used as it is.
_SERVERS_METADATA: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_SECRET_TYPES: Final = frozenset({"Opaque", "kubernetes.io/basic-auth"})
_SECRET_FIELDS: Final = frozenset(
    {"apiVersion", "kind", "type", "data", "stringData", "immutable", "username", "password"}
)
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,80}|\[key\]")
# Of objects, the wrong ones included that people write.
_NAME: Final = re.compile(r"[\w.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a manifest. `field` is its path ("spec.source.main.url") or empty; lines count from 1."""

    file: str
    line: int
    subject: str
    field: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = ": ".join(part for part in (self.subject, self.field) if part)
        return redact(f"{place}: {what} {self.reason}" if what else f"{place}: {self.reason}")


class ManifestError(Exception):
    """The manifests are wrong; `problems` says where and why, in the files' order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class _Object:
    """A manifest's object before its schema is checked."""

    file: str
    value: dict[str, object]
    lines: Lines


@dataclass(slots=True)
class _Declared:
    """What is gathered on the way through the files."""

    problems: list[Problem] = field(default_factory=list)
    first: dict[tuple[str, Key], _Object] = field(default_factory=dict)
    cameras: list[tuple[Camera, _Object]] = field(default_factory=list)
    pools: list[RelayPool] = field(default_factory=list)
    secrets: dict[Key, tuple[Secret, _Object]] = field(default_factory=dict)


def files(paths: Iterable[Path]) -> list[Path]:
    """The manifest files that `paths` stand for: files as they are, folders with all below them, hidden ones left out.

    Raises ManifestError where a path is not there.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise ManifestError([Problem(str(path), 0, "", "", "is not there")])
        for file in sorted(_below(path)) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in SUFFIXES and not hidden and path.is_file():
            yield path


def load(paths: Iterable[Path]) -> Manifests:
    """Reads and parses the files and folders. Raises ManifestError."""
    texts: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for path in files(paths):
        try:
            if path.stat().st_size > MAX_BYTES:
                problems.append(Problem(str(path), 0, "", "", f"is larger than {MAX_BYTES // 1024 // 1024} MiB"))
                continue
            texts.append((str(path), path.read_text(encoding="utf-8-sig")))
        except UnicodeDecodeError:
            problems.append(Problem(str(path), 0, "", "", "is not UTF-8 text; save it as UTF-8"))
        except OSError as error:
            problems.append(Problem(str(path), 0, "", "", f"cannot be read: {error.strerror}"))
    if problems:
        raise ManifestError(problems)
    return parse(texts)


def parse(texts: Sequence[tuple[str, str]]) -> Manifests:
    """Parses named texts. Raises ManifestError with every problem found, and nothing else."""
    declared = _Declared()
    for name, text in texts:
        try:
            read = list(documents(text))
        except YamlError as error:
            declared.problems.append(Problem(name, error.line, "", "", error.reason))
            continue
        if not read:
            declared.problems.append(Problem(name, 0, "", "", "holds no manifest; write one or remove the file"))
        for document in read:
            for found in _objects(name, document, declared.problems):
                _declare(found, declared)
    credentials = _resolve(declared)
    if declared.problems:
        order = {name: index for index, (name, _) in enumerate(texts)}
        raise ManifestError(sorted(declared.problems, key=lambda problem: (order[problem.file], problem.line)))
    return Manifests(
        cameras={camera.key: camera for camera, _ in declared.cameras},
        pools={pool.key: pool for pool in declared.pools},
        credentials=credentials,
    )


def _objects(name: str, document: Document, problems: list[Problem]) -> Iterator[_Object]:
    value = document.value
    if not isinstance(value, dict):
        problems.append(Problem(name, document.lines.line, "", "", "is no manifest: it must begin with apiVersion:"))
        return
    if value.get("kind") == "List" and isinstance(items := value.get("items"), list):
        for index, item in enumerate(items):
            yield from _objects(name, Document(item, document.lines.find(("items", index))), problems)
        return
    yield _Object(name, value, document.lines)


def _declare(found: _Object, declared: _Declared) -> None:
    """Checks one object and files it under its kind."""
    kind, version = found.value.get("kind"), found.value.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        for name, value in (("apiVersion", version), ("kind", kind)):
            if not isinstance(value, str):
                declared.problems.append(_problem(found, (name,), "is missing" if value is None else "must be text"))
        return
    if (version, kind) in _PASSED_OVER:
        return
    problem = _envelope(found, kind, version)
    if problem is not None:
        declared.problems.append(problem)
        return
    body = {name: value for name, value in found.value.items() if name not in ("apiVersion", "kind", "status")}
    if isinstance(metadata := body.get("metadata"), dict):
        body["metadata"] = {name: value for name, value in metadata.items() if name not in _SERVERS_METADATA}
    adapter = _KINDS[kind][1]
    problems = list(_without_value(found, body))
    try:
        parsed = adapter.validate_python(body, by_alias=True, by_name=False)
    except ValidationError as error:
        problems.extend(_mismatches(found, adapter, error))
    if problems:
        declared.problems.extend(problems)
        return
    _file(kind, parsed, found, declared)


def _file(kind: str, parsed: Camera | RelayPool | Secret, found: _Object, declared: _Declared) -> None:
    key = parsed.metadata.key
    first = declared.first.setdefault((kind, key), found)
    if first is not found:
        reason = f"is declared twice, first at {first.file}:{first.lines.line}; remove one of them"
        declared.problems.append(Problem(found.file, found.lines.line, f"{kind} {key}", "", reason))
    elif isinstance(parsed, Camera):
        declared.cameras.append((parsed, found))
    elif isinstance(parsed, RelayPool):
        declared.pools.append(parsed)
    else:
        declared.secrets[key] = (parsed, found)


def _envelope(found: _Object, kind: str, version: str) -> Problem | None:
    if kind not in _KINDS:
        close = get_close_matches(kind, _KINDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return _problem(found, ("kind",), f"is none that Pancar knows ({', '.join(_KINDS)}){hint}")
    wanted = _KINDS[kind][0]
    return _problem(found, ("apiVersion",), f"must be {wanted} for a {kind}") if version != wanted else None


def _without_value(found: _Object, body: dict[str, object]) -> Iterator[Problem]:
    """Fields written with nothing after the colon: Kubernetes would drop them, `paused:` with them."""
    waiting: list[tuple[tuple[object, ...], object]] = [((), body)]
    while waiting:
        path, value = waiting.pop()
        if value is None:
            yield _problem(found, path, "has no value; give it one or remove the line")
        elif isinstance(value, dict):
            waiting.extend(((*path, name), inner) for name, inner in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend(((*path, index), inner) for index, inner in reversed(list(enumerate(value))))


def _mismatches(found: _Object, adapter: TypeAdapter[Any], error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        if detail["input"] is not None or detail["type"] == "missing":
            yield _problem(found, detail["loc"], sentence(detail, adapter))


def _problem(found: _Object, path: tuple[object, ...], reason: str) -> Problem:
    shown = tuple(step if _may_be_shown(step, path, found) else "…" for step in path)
    return Problem(found.file, found.lines.find(path).line, _subject(found), dotted(shown), reason)


def _may_be_shown(step: object, path: tuple[object, ...], found: _Object) -> bool:
    """Whether a field's name is one, and not a value that a forgotten space or line break made one."""
    if isinstance(step, int):
        return True
    if found.value.get("kind") == "Secret" and path[0] != "metadata":
        return step in _SECRET_FIELDS
    return isinstance(step, str) and _FIELD_NAME.fullmatch(step) is not None


def _subject(found: _Object) -> str:
    kind, metadata = found.value.get("kind"), found.value.get("metadata")
    if not isinstance(kind, str) or kind not in _KINDS:
        return ""
    name = metadata.get("name") if isinstance(metadata, dict) else None
    # With a line that lost its key behind it, a name holds that line too.
    return f"{kind} {name}" if isinstance(name, str) and _NAME.fullmatch(name) else kind


def dotted(path: tuple[object, ...]) -> str:
    """A path as people write it: spec.maintenance[0].start."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step != "[key]":
            text += f".{step}" if text else str(step)
    return text


def _resolve(declared: _Declared) -> dict[Key, Credentials]:
    """The credentials of all labelled Secrets; a camera that refers to none of them is a problem."""
    credentials: dict[Key, Credentials] = {}
    for key, (secret, found) in declared.secrets.items():
        if CREDENTIALS_LABEL in secret.metadata.labels:
            read = _credentials(secret, found, declared.problems)
            if read is not None:
                credentials[key] = read
    for camera, found in declared.cameras:
        ref = camera.spec.source.credentials_ref
        if ref is None:
            continue
        wanted = Key(camera.key.namespace, ref.name)
        reason = _why_unresolved(wanted, declared)
        if reason is not None:
            declared.problems.append(_problem(found, ("spec", "source", "credentialsRef", "name"), reason))
    return credentials


def _why_unresolved(wanted: Key, declared: _Declared) -> str | None:
    if wanted in declared.secrets:
        secret, _ = declared.secrets[wanted]
        if CREDENTIALS_LABEL in secret.metadata.labels:
            return None
        return f'names a Secret without the label {CREDENTIALS_LABEL}: "true"; add it to the Secret'
    elsewhere = [key.namespace for key in declared.secrets if key.name == wanted.name]
    if elsewhere:
        return (
            f"names a Secret that is in namespace {elsewhere[0]}, while the camera is in {wanted.namespace}; "
            "both must be in the same one"
        )
    return (
        f"names a Secret that is not there; declare a Secret {wanted.name} with username and password in "
        f"namespace {wanted.namespace}, in one of the given files"
    )


def _credentials(secret: Secret, found: _Object, problems: list[Problem]) -> Credentials | None:
    before = len(problems)
    if secret.type not in _SECRET_TYPES:
        problems.append(_problem(found, ("type",), f"must be one of {', '.join(sorted(_SECRET_TYPES))}"))
    values: dict[str, str] = {}
    for name in ("username", "password"):
        value = _value(secret, name, found, problems)
        if value is not None:
            values[name] = value
    if len(problems) > before:
        return None
    return Credentials(values["username"], values["password"])


def _value(secret: Secret, name: str, found: _Object, problems: list[Problem]) -> str | None:
    path: tuple[str, str] = ("stringData", name)
    value = secret.string_data.get(name)
    if value is None and name in secret.data:
        path = ("data", name)
        try:
            value = base64.b64decode(secret.data[name], validate=True).decode()
        except (binascii.Error, ValueError):
            reason = "must be text in base64; write it under stringData to have it as it is"
            problems.append(_problem(found, path, reason))
            return None
    if value is None:
        problems.append(_problem(found, path, "is missing"))
        return None
    # What base64 or a block of YAML brings along: a line break would end the header of an RTSP request.
    value = value.removesuffix("\n").removesuffix("\r")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        problems.append(_problem(found, path, "must not contain line breaks or control characters"))
        return None
    if not value and name == "username":
        problems.append(_problem(found, path, "must not be empty"))
        return None
    return value
