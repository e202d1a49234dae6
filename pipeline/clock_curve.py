"""A relation of two clocks for arrays of times: what it says at and between the bursts, and lines between these points.

From point to point the difference is a straight line but for the little that a clock wanders.  So the chords of its
bounds are bounds too, once that little is added.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .clock import Relation

    Times = NDArray[np.int64]

_S: Final = 1_000_000_000
_DAY: Final = 86_400 * _S
_AHEAD: Final = (_S, 4 * _S, 15 * _S, 60 * _S, 600 * _S, 7200 * _S, _DAY, 30 * _DAY, 365 * _DAY, 36_500 * _DAY)
"""How far before the first and after the last burst the bounds are asked for; between these, lines."""
UNKNOWN: Final = 2**61
"""Uncertainty, ns, of a time further away than that: 73 years."""


class Curve:
    """A relation as it is now, for many times at once.

    Args:
        relation: bursts that are added to it later are not looked at.

    Raises:
        ClockDomainError: it has none.
    """

    def __init__(self, relation: Relation) -> None:
        self.ours = relation.ours
        self.theirs = relation.theirs
        bursts = relation.moments() or [0]
        middles = [(at + later) // 2 for at, later in pairwise(bursts)]
        ends = [at for far in _AHEAD for at in (bursts[0] - far, bursts[-1] + far)]
        moments = sorted({*bursts, *middles, *ends})
        spans = [relation.difference(at) for at in moments]
        lengths = [later - at for at, later in pairwise(moments)]
        bends = [relation.bend(max(pair)) for pair in zip([0, *lengths], [*lengths, 0], strict=True)]
        self._at = np.array(moments, np.int64)
        self._low = self._at + np.array([math.floor(s.low) - b for s, b in zip(spans, bends, strict=True)], np.int64)
        self._high = self._at + np.array([math.ceil(s.high) + b for s, b in zip(spans, bends, strict=True)], np.int64)
        # A clock that was set back reads some times twice: the first and the last moment at which it may have.
        self._least = np.minimum.accumulate(self._low[::-1])[::-1]
        self._most = np.maximum.accumulate(self._high)

    def to_theirs(self, times: ArrayLike) -> tuple[Times, Times]:
        """Return times of ours on their clock, and for each how far off it may be, ns."""
        ours = np.asarray(times, np.int64)
        return _middle(
            _on_line(ours, self._at, self._low, "left"),
            _on_line(ours, self._at, self._high, "left"),
            is_known=_is_within(ours, self._at),
        )

    def to_ours(self, times: ArrayLike) -> tuple[Times, Times]:
        """Return times of theirs on our clock, and for each how far off it may be, ns."""
        theirs = np.asarray(times, np.int64)
        return _middle(
            _on_line(theirs, self._most, self._at, "left"),
            _on_line(theirs, self._least, self._at, "right"),
            is_known=_is_within(theirs, self._most) & _is_within(theirs, self._least),
        )

    def __repr__(self) -> str:
        return f"<Curve of {self.theirs} to {self.ours}: {len(self._at)} points>"


def _is_within(x: Times, points: Times) -> NDArray[np.bool_]:
    return np.asarray((x >= points[0]) & (x <= points[-1]), np.bool_)


def _on_line(x: Times, xs: Times, ys: Times, side: Literal["left", "right"]) -> Times:
    """Interpolate in whole nanoseconds: only what lies between two points goes through a float."""
    inside = np.clip(x, xs[0], xs[-1])
    end = np.clip(np.searchsorted(xs, inside, side), 1, len(xs) - 1)
    start = end - 1
    share = (inside - xs[start]) / np.maximum(xs[end] - xs[start], 1)
    return np.asarray(ys[start] + np.rint(share * (ys[end] - ys[start])).astype(np.int64), np.int64)


def _middle(low: Times, high: Times, *, is_known: NDArray[np.bool_]) -> tuple[Times, Times]:
    """Return the middle and what it is off at most; a nanosecond for rounding."""
    half = (high - low) // 2 + 2
    return np.asarray(low + (high - low) // 2, np.int64), np.asarray(np.where(is_known, half, UNKNOWN), np.int64)
