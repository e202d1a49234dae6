"""What a source is: a spec, and four small methods.

A source fills arrays that somebody else owns; it knows nothing of rings, clocks or processes.  Any class with these
members is one, wherever it comes from: see `Source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stations.errors import SourceError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What a source delivers; constant from `open` to `close`.

    Raises:
        SourceError: a shape, dtype or rate that no ring can hold.
    """

    shape: tuple[int, ...]
    """Of one item: ``(height, width, 3)`` for an image, ``(32,)`` for a sample of 32 channels."""
    dtype: str | list[Any]
    """numpy's name of it, such as ``"u1"`` or ``"<i2"``; of items with fields a list of (name, dtype)."""
    rate: float | None
    """Items per second, nominal; None if it has none (the stream then needs ``slots``)."""
    can_wait: bool = False
    """May the ring make it wait for lossless readers?  True for files, False for everything live."""
    paced: bool = False
    """Should the sensor call `read_into` at `rate`?  False for a device that blocks until it has something."""
    regular: bool = True
    """Are items spaced by 1/rate, so that times are scheduled, not measured?"""
    finite: bool = False
    """Does it end by itself?  A run without a duration ends when all finite sources have."""
    labels: tuple[str, ...] = ()
    """A name per channel, or none."""
    unit: str = ""
    """Of the values, for people."""
    meta: Mapping[str, object] = field(default_factory=dict)
    """Anything else that should stand in the recording; JSON-able and small (2 KiB with all the rest)."""

    def __post_init__(self) -> None:
        try:
            dtype = np.dtype(self.dtype)
        except TypeError as error:
            raise SourceError(f"a source's dtype {self.dtype!r} is not one of numpy's; try 'u1' or '<i2'") from error
        if dtype.hasobject or dtype.itemsize == 0:
            raise SourceError(f"a source's dtype {self.dtype!r} has no fixed bytes; items live in shared memory")
        if any(length < 1 for length in self.shape):
            raise SourceError(f"a source's shape {self.shape} has an empty axis; every length must be at least 1")
        if self.rate is not None and not 0 < self.rate <= 1e9:
            raise SourceError(f"a source's rate {self.rate} is not between 0 and 1e9 items/s; None means it has none")
        if self.paced and self.rate is None:
            raise SourceError("a paced source needs a rate; give one, or paced=False and block in read_into")

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def period_ns(self) -> int:
        """Whole nanoseconds from one item to the next, rounded down; 0 without a rate."""
        return int(1e9 / self.rate) if self.rate else 0


def slots_for(spec: SourceSpec, seconds: float, slots: int | None) -> int | None:
    """Return how many items the ring of a source retains: `slots`, or so many seconds; None without a rate."""
    if slots is not None or spec.rate is None:
        return slots
    return max(1, round(seconds * spec.rate))


@dataclass(frozen=True, slots=True)
class Reading:
    """How many items were read, and when they were acquired, for a source that knows better than the sensor."""

    count: int
    """Items filled, from the front; 0 ends the source."""
    time_ns: int
    """CLOCK_MONOTONIC of the first."""
    period_ns: int = 0
    """From each to the next; must be positive where count > 1."""


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Items that come next, evenly spaced, and when: known before they are read."""

    count: int
    """How many; 0 ends the source."""
    time_ns: int
    """Of the first, counted from the start of the run."""
    period_ns: int = 0
    """From each to the next; must be positive where count > 1."""
    at_once: bool = False
    """Do not wait for that time: as fast as lossless readers take them."""


@runtime_checkable
class Source(Protocol):
    """Where items come from.

    Options from the rig file arrive as keyword arguments of ``__init__``; annotations, where given, are checked.
    The methods are called from one thread, in the order open, read_into…, close; a source may be opened again.
    """

    @property
    def spec(self) -> SourceSpec:
        """What is delivered; need not be valid before `open`."""
        ...

    def open(self) -> None:
        """Get hold of the device or file; raise `SourceError` if the user can mend it, anything else if not."""
        ...

    def read_into(self, out: Array) -> int | Reading | None:
        """Fill the first items of ``out``, shape (n, *spec.shape).

        Returns:
            How many were filled; 0 when the source has ended; None when there is nothing yet (a device that waits
            should return so every 0.1 s, to let a STOP through).
        """
        ...

    def close(self) -> None:
        """Let go of it; called once for every `open`, also after an error."""
        ...


@runtime_checkable
class TimedSource(Source, Protocol):
    """A source that has a time line of its own: a recording.  Its items get those times, and are waited for."""

    def upcoming(self, most: int) -> Upcoming:
        """Say which items come next, at most `most`; the next `read_into` has room for exactly those."""
        ...
