"""One program of the cluster as a value: what it is called, its command, the files it reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Part:
    name: str
    command: tuple[str, ...]
    files: Mapping[Path, str] = field(default_factory=dict)
