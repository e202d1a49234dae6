"""What two clocks' difference can be, given bounds on it at some moments and a limit to its drift.

Every answered probe bounds the difference from both sides, however asymmetric its way was: the other clock read `t2`
after we read `t1`, and `t3` before we read `t4`.  Between the bounds lie the straight lines of all drifts that are
possible; what the lowest and the highest of them say at a moment is what is known of it, and no more.  (Convex bounds
on delay measurements: Moon, Skelly and Towsley, INFOCOM 1999.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Band:
    """The difference (theirs minus ours, ns) is between `low` and `high` at our time `at`, ns.

    It was measured somewhere between `begin` and `end`: a step in between may be before or after it.
    """

    at: int
    low: int
    high: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """What the difference can be at a moment, ns, and the range of drifts (ns/ns) that leaves it."""

    low: int
    high: int
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
        slopes = self._slopes(low, high)
        if slopes is None:
            return None
        bottom = _least(low, ahead, *slopes)
        top = -_least(-high, -ahead, *slopes)
        # Whole numbers from here on: as a float the difference to a wall clock is good to 256 ns only.
        return Span(math.floor(bottom) + self._base, math.ceil(top) + self._base, *slopes)

    def _slopes(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[float, float] | None:
        """Return the least and the greatest slope of a line through every band: each pair of bands bounds it."""
        run = self._at[None, :] - self._at[:, None]
        rise = high[None, :] - low[:, None]
        ahead, behind = run > 0, run < 0
        if np.any(rise[run == 0] < 0):
            return None
        fastest = min(self._drift, float(np.min(rise[ahead] / run[ahead], initial=self._drift)))
        slowest = max(-self._drift, float(np.max(rise[behind] / run[behind], initial=-self._drift)))
        return (slowest, fastest) if slowest <= fastest else None


def _least(at_zero: NDArray[np.float64], slope: NDArray[np.float64], low: float, high: float) -> float:
    """Return the least value of ``max(at_zero + slope * x)`` for x in [low, high].

    It is where a falling line meets a rising one: of all such points the highest.
    """
    falling, rising = np.flatnonzero(slope < 0), np.flatnonzero(slope > 0)
    if len(falling) == 0:
        x = low
    elif len(rising) == 0:
        x = high
    else:
        apart = slope[rising][None, :] - slope[falling][:, None]
        x_meet = (at_zero[falling][:, None] - at_zero[rising][None, :]) / apart
        meet = at_zero[falling][:, None] + slope[falling][:, None] * x_meet
        x = min(max(float(x_meet.flat[np.argmax(meet)]), low), high)
    return float(np.max(at_zero + slope * x))
