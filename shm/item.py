"""What reading returns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Item(NamedTuple):
    """One item, copied and validated.

    Attributes:
        data: the ring's shape and dtype; yours to keep.
        sequence: its number since the ring's creation.
        time_ns: of acquisition, CLOCK_MONOTONIC of the writer.
    """

    data: np.ndarray[Any, Any]
    sequence: int
    time_ns: int


class Blob(NamedTuple):
    """One byte string, copied and validated.

    Attributes:
        data: the bytes; yours to keep.
        sequence: its number since the ring's creation.
        time_ns: of writing, CLOCK_MONOTONIC of the writer.
    """

    data: bytes
    sequence: int
    time_ns: int


class Run:
    """Consecutive items.

    Attributes:
        data: (count, *shape); from a blob ring a list of memoryviews. A read-only view inside ``with reader.view()``,
            yours to keep from `window`.
        first: sequence of the first.
        count: how many, 0 if there was nothing new.
        times: int64 (count,), ns.
        good: False once it is known that some were overwritten during use; they were counted as torn.
    """

    __slots__ = ("count", "data", "first", "good", "times")

    def __init__(self, data: Any, first: int, count: int, times: np.ndarray[Any, Any]) -> None:
        self.data = data
        self.first = first
        self.count = count
        self.times = times
        self.good = True

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"<Run {self.first}..{self.first + self.count} {'good' if self.good else 'overwritten'}>"
