"""What a bench reports: our figure beside a baseline of the same run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a bench; `tools/README.md` says what each field means."""

    name: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    floor: float | None
    holds: bool | None
    min: float
    max: float
    at_most: bool = False


def compared(
    name: str,
    unit: str,
    values: list[float],
    baseline: list[float],
    floor: float | None = None,
    *,
    at_most: bool = False,
) -> Row:
    """Return the row of repeats that ran in turns with a baseline.

    Args:
        name: what was measured.
        unit: of both.
        values: ours, one a repeat.
        baseline: the baseline's, of the same repeats.
        floor: what the median of the ratios must reach, if anything is promised.
        at_most: smaller is better, and the floor a ceiling.
    """
    ratio = median(ours / theirs for ours, theirs in zip(values, baseline, strict=True))
    holds = None if floor is None else (ratio <= floor if at_most else ratio >= floor)
    return Row(name, median(values), unit, median(baseline), ratio, floor, holds, min(values), max(values), at_most)


def bounded(name: str, unit: str, values: list[float], ceiling: float | None = None) -> Row:
    """Return the row of a figure that has no baseline and must not exceed a ceiling, if one is promised."""
    middle = median(values)
    holds = None if ceiling is None else middle <= ceiling
    return Row(name, middle, unit, None, None, ceiling, holds, min(values), max(values), at_most=True)


def at_least(name: str, unit: str, values: list[float], floor: float) -> Row:
    """Return the row of a figure that has no baseline and must reach a floor."""
    middle = median(values)
    return Row(name, middle, unit, None, None, floor, middle >= floor, min(values), max(values))
