"""What two clocks' difference can be, given bounds on it at some moments and a limit to its drift.

Every answered probe bounds the difference from both sides, however asymmetric its way was: the other clock read `t2`
after we read `t1`, and `t3` before we read `t4`.  Between the bounds lie the straight lines of all drifts that are
possible; what the lowest and the highest of them say at a moment is what is known of it, and no more.  (Convex bounds
on delay measurements: Moon, Skelly and Towsley, INFOCOM 1999.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS: Final = 50
"""Cuts of an interval of slopes: what is left of 2e-4 changes nothing within an hour."""
_NARROW: Final = 0.382
"""Where the golden section probes an interval, from either end."""


@dataclass(frozen=True, slots=True)
class Band:
    """The difference (theirs minus ours, ns) is between `low` and `high` at our time `at`, ns."""

    at: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Span:
    """What the difference can be at a moment, ns, and the range of drifts (ns/ns) that leaves it."""

    low: float
    high: float
    slowest: float
    fastest: float


class Lines:
    """The lines that pass through every band.

    Args:
        bands: at least one.
        drift: the largest rate of change that is possible, e.g. 2e-4.
        wander: how much a drift may change the difference beside a straight line, ns/ns of distance in time.
    """

    def __init__(self, bands: Sequence[Band], drift: float, wander: float) -> None:
        self._base = bands[-1].low
        self._origin = bands[-1].at
        self._drift = drift
        self._wander = wander
        self._at: NDArray[np.float64] = np.array([float(band.at - self._origin) for band in bands])
        self._low: NDArray[np.float64] = np.array([float(band.low - self._base) for band in bands])
        self._high: NDArray[np.float64] = np.array([float(band.high - self._base) for band in bands])

    def span(self, at: int) -> Span | None:
        """Return what the difference can be at our time `at`; None if no line passes through every band."""
        ahead = float(at - self._origin) - self._at
        slack = self._wander * np.abs(ahead)
        low, high = self._low - slack, self._high + slack

        def lowest(slope: float) -> float:
            return float(np.max(low + slope * ahead))

        def highest(slope: float) -> float:
            return float(np.min(high + slope * ahead))

        def excess(slope: float) -> float:  # convex; not positive where some line of this slope passes
            return lowest(slope) - highest(slope)

        best = _minimum(excess, -self._drift, self._drift)
        if excess(best) > 0:
            return None
        slowest = _edge(excess, best, -self._drift)
        fastest = _edge(excess, best, self._drift)
        bottom = lowest(_minimum(lowest, slowest, fastest))
        top = highest(_minimum(lambda slope: -highest(slope), slowest, fastest))
        return Span(bottom + self._base, top + self._base, slowest, fastest)


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a convex function is least, by golden section."""
    for _ in range(_STEPS):
        left = low + _NARROW * (high - low)
        right = high - _NARROW * (high - low)
        if function(left) <= function(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def _edge(function: Callable[[float], float], inside: float, outside: float) -> float:
    """Return how far one can go from `inside`, where a convex function is not positive, towards `outside`."""
    if function(outside) <= 0:
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if function(middle) <= 0:
            inside = middle
        else:
            outside = middle
    return inside
