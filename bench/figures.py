"""The few statistics that the measures use; pure.

Promises: a percentile is a value that was measured (nearest rank), never one made up between two; nothing is dropped
as an outlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number the mean of the two in the middle. ValueError when there is none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest measured value that `percent` per cent of the values do not exceed; ValueError for no values."""
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is not a percentage")
    ordered = sorted(values)
    return float(ordered[max(0, ceil(len(ordered) * percent / 100) - 1)])


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure that every round has, the median over the rounds."""
    if not rounds:
        raise ValueError("no rounds")
    shared = [name for name in rounds[0] if all(name in one for one in rounds)]
    return {name: median([one[name] for one in rounds]) for name in shared}


def rounded(value: float, digits: int = 3) -> float:
    """The value with `digits` significant digits: what a table can honestly show."""
    return float(f"{value:.{digits}g}")


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound from the issue and what was measured. `most`: the bound is an upper one; `applies`: on this machine."""

    text: str
    measured: float
    bound: float
    most: bool
    applies: bool = True

    @property
    def met(self) -> bool:
        """Whether the measured value keeps the bound."""
        return self.measured <= self.bound if self.most else self.measured >= self.bound

    @property
    def verdict(self) -> str:
        """The reading in a word or two."""
        word = "reached" if self.met else "missed"
        return word if self.applies else f"{word} (not this machine's rule)"

    def document(self) -> dict[str, Any]:
        """The goal as JSON."""
        return {
            "goal": self.text,
            "measured": rounded(self.measured),
            "bound": f"{'<=' if self.most else '>='} {rounded(self.bound):g}",
            "applies": self.applies,
            "met": self.met,
        }
