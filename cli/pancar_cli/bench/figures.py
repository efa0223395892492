"""What a bench ends with: figures, or the error that says why there are none. `command` prints them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace


class BenchError(Exception):
    """The bench could not be set up or did not reach the state it measures; says what is missing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`floor`, in the same unit, is what the hardware alone took for the same work in the same run."""

    name: str
    value: float
    unit: str
    conditions: dict[str, float | int | str] = field(default_factory=dict)
    floor: float | None = None

    def as_json(self) -> str:
        """One line, as dashboards and scripts take it."""
        record: dict[str, object] = {
            "figure": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "conditions": self.conditions,
        }
        if self.floor is not None:
            record["floor"] = round(self.floor, 4)
        return json.dumps(record)

    def as_text(self) -> str:
        """One line for a person."""
        conditions = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        line = f"{self.name:<36} {self.value:10.3f} {self.unit}"
        if self.floor:
            line += f"   floor {self.floor:.3f}, ratio {self.value / self.floor:.2f}"
        return f"{line}   ({conditions})"


def medians(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Of each figure the run in the middle, floor and all; every run has the same figures in the same order."""
    chosen = []
    for figures in zip(*runs, strict=True):
        middle = sorted(figures, key=lambda figure: figure.value)[(len(figures) - 1) // 2]
        chosen.append(replace(middle, conditions={**middle.conditions, "runs": len(runs)}))
    return chosen


def percentile(values: Sequence[float], percent: int) -> float:
    """The inclusive percentile, 1 to 99, of at least one value."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
