"""The last seconds of many channels, as least and greatest value per bucket.  Pure: samples in, lines out.

A screen has some hundred columns and a second may have 30 000 samples: each column shows the least and the greatest
value of its bucket, so that no spike is lost.  Buckets are anchored to sequences (bucket = sequence // samples), never
to the moment of drawing, so a trace moves and does not flicker; a new sample changes only the newest bucket, so each
sample is looked at once however often the traces are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_CHANNELS: Final = 32
"""Channels drawn of one stream; the first ones."""
MAX_POINTS: Final = 600
"""Buckets per channel: about two pixels each on a card of the page."""
CROWD: Final = 8
"""More channels than this get half the points: their lanes are narrow and the frame stays below 40 kB."""
GAP: Final = -32768
"""Level that means: no sample fell into this bucket."""
FULL: Final = 32767
"""Level of a channel's `high`; `-FULL` is its `low`."""

_UNSET: Final = -1


@dataclass(frozen=True, slots=True)
class Traces:
    """Lines ready to be drawn."""

    levels: NDArray[np.int16]
    """(channels, buckets, 2): least and greatest value of each bucket, -FULL..FULL from low to high, or GAP."""
    low: NDArray[np.float32]
    """(channels,) value at level -FULL."""
    high: NDArray[np.float32]
    """(channels,) value at level FULL."""
    last: NDArray[np.float32]
    """(channels,) newest value; NaN before the first."""
    span_s: float
    """Seconds from the first bucket to the end of the last; 0 when the rate is unknown."""


class TraceWindow:
    """Min/max buckets of the last `buckets * step` samples; one thread owns it."""

    def __init__(self, channels: int, *, step: int, buckets: int) -> None:
        """Args: channels drawn (1..MAX_CHANNELS), samples per bucket (>= 1), buckets kept (>= 2)."""
        self.channels = channels
        self.step = step
        self.buckets = buckets
        self._low = np.full((buckets, channels), np.nan, np.float32)
        self._high = np.full((buckets, channels), np.nan, np.float32)
        self._number = np.full(buckets, _UNSET, np.int64)
        self._last = np.full(channels, np.nan, np.float32)
        self._end = 0

    def __repr__(self) -> str:
        return f"<TraceWindow {self.channels}x{self.buckets} step={self.step} end={self._end}>"

    @property
    def end(self) -> int:
        """Sequence after the newest sample seen."""
        return self._end

    def add(self, first: int, samples: NDArray[Any]) -> None:
        """Add a run of samples.

        Runs may leave gaps and must not go backwards; what was seen already is left out.

        Args:
            first: sequence of the first sample.
            samples: (n, ...) real numbers; all axes but the first are flattened and cut to `channels`.
        """
        if first < self._end:
            samples = samples[self._end - first :]
            first = self._end
        keep = self.buckets * self.step
        if len(samples) > keep:
            first, samples = first + len(samples) - keep, samples[-keep:]
        if len(samples) == 0:
            return
        values = samples.reshape(len(samples), -1)[:, : self.channels].astype(np.float32)
        numbers, starts = self._split(first, len(values))
        self._merge(numbers, np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts))
        self._last = values[-1]
        self._end = first + len(values)

    def _split(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bucket numbers that a run touches and the index in the run where each begins."""
        numbers = np.arange(first // self.step, (first + count - 1) // self.step + 1, dtype=np.int64)
        return numbers, np.maximum(numbers * self.step - first, 0)

    def _merge(self, numbers: NDArray[np.int64], low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        """Store buckets; the first one may continue what an earlier run began."""
        place = numbers % self.buckets
        if self._number[place[0]] == numbers[0]:
            low[0] = np.fmin(low[0], self._low[place[0]])
            high[0] = np.fmax(high[0], self._high[place[0]])
        self._low[place], self._high[place], self._number[place] = low, high, numbers

    def newest(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return least and greatest values, (buckets, channels) each, oldest first; NaN where nothing was seen."""
        last = max(self._end - 1, 0) // self.step
        numbers = np.arange(last - self.buckets + 1, last + 1)
        place = numbers % self.buckets
        seen = (self._number[place] == numbers)[:, None]
        return np.where(seen, self._low[place], np.nan), np.where(seen, self._high[place], np.nan)

    def draw(self, *, rate: float | None, own_scale: bool) -> Traces:
        """Return the lines of now.

        Args:
            rate: samples per second; None when unknown.
            own_scale: each channel fills its lane (channels with names: temperatures beside loads); otherwise all share
                one gain, so that amplitudes compare (electrodes), each about its own middle.
        """
        low, high = self.newest()
        floor, ceiling = _scales(low, high, own_scale=own_scale)
        levels = np.empty((self.channels, self.buckets, 2), np.int16)
        levels[:, :, 0] = _to_levels(low, floor, ceiling).T
        levels[:, :, 1] = _to_levels(high, floor, ceiling).T
        span_s = self.buckets * self.step / rate if rate else 0.0
        return Traces(levels, floor, ceiling, self._last.copy(), span_s)


def window_for(channels: int, rate: float | None, *, seconds: float) -> TraceWindow:
    """Return a window of about `seconds` for `channels` of the given rate (samples/s; None: 600 single samples)."""
    drawn = min(channels, MAX_CHANNELS)
    points = MAX_POINTS if drawn <= CROWD else MAX_POINTS // 2
    if rate is None:
        return TraceWindow(drawn, step=1, buckets=points)
    step = max(1, math.ceil(rate * seconds / points))
    return TraceWindow(drawn, step=step, buckets=max(2, min(points, math.ceil(rate * seconds / step))))


def nice(span: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is at least `span`; 1 for nothing or not-a-number.

    Scales move in such steps so that lines do not breathe with every sample.
    """
    if not span > 0 or not math.isfinite(span):
        return 1.0
    power = 10.0 ** math.floor(math.log10(span))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= span * (1 - 1e-9))


def _scales(
    low: NDArray[np.float32], high: NDArray[np.float32], *, own_scale: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the value at the bottom and at the top of every channel's lane."""
    with np.errstate(all="ignore"):
        bottom = np.fmin.reduce(np.where(np.isfinite(low), low, np.nan), axis=0)
        top = np.fmax.reduce(np.where(np.isfinite(high), high, np.nan), axis=0)
        spread = np.nan_to_num(top - bottom)
        middle = np.nan_to_num((top + bottom) / 2)
    if own_scale:
        spans = np.array([nice(float(value)) for value in spread])
    else:
        spans = np.full(len(spread), nice(float(spread.max(initial=0.0))))
    # The middle is held on a grid of a tenth, for the same calm; the lane grows by what that may cut off.
    grid = spans / 10
    middle = np.round(middle / grid) * grid
    return (middle - spans * 0.55).astype(np.float32), (middle + spans * 0.55).astype(np.float32)


def _to_levels(
    values: NDArray[np.float32], floor: NDArray[np.float32], ceiling: NDArray[np.float32]
) -> NDArray[np.int16]:
    """Return values (buckets, channels) as levels between their channel's floor and ceiling."""
    unit = (values - floor) / (ceiling - floor)
    level = np.clip(np.round((unit * 2 - 1) * FULL), -FULL, FULL)
    return np.where(np.isnan(level), GAP, level).astype(np.int16)
