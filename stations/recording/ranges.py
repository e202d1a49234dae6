"""Sets of sequences, kept as runs: what is stored of a stream, and what is missing between."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of sequences as sorted, disjoint, non-touching runs ``[first, end)``.

    Adding at the end, which is what a recording does, costs the same however long the recording is.

    Args:
        runs: pairs (first, end) to begin with, in any order.
    """

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []
        self._count = 0
        for first, end in runs:
            self.add(first, end)

    def add(self, first: int, end: int) -> int:
        """Add ``[first, end)``; return how many of them were there already."""
        if end <= first:
            return 0
        low = bisect_left(self._ends, first)
        high = bisect_right(self._firsts, end)
        known = sum(
            max(0, min(end, e) - max(first, f))
            for f, e in zip(self._firsts[low:high], self._ends[low:high], strict=True)
        )
        self._count += end - first - known
        if low < high:
            first, end = min(first, self._firsts[low]), max(end, self._ends[high - 1])
        self._firsts[low:high] = [first]
        self._ends[low:high] = [end]
        return known

    def holes(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the runs of ``[first, end)`` that are not in the set."""
        found = []
        for at in range(bisect_right(self._ends, first), bisect_left(self._firsts, end)):
            if self._firsts[at] > first:
                found.append((first, self._firsts[at]))
            first = max(first, self._ends[at])
        if first < end:
            found.append((first, end))
        return found

    def remove(self, first: int, end: int) -> None:
        """Take ``[first, end)`` out."""
        low, high = bisect_right(self._ends, first), bisect_left(self._firsts, end)
        if first >= end or low >= high:
            return
        runs = list(zip(self._firsts[low:high], self._ends[low:high], strict=True))
        rest = [(f, min(e, first)) for f, e in runs if f < first] + [(max(f, end), e) for f, e in runs if e > end]
        self._count -= sum(e - f for f, e in runs) - sum(e - f for f, e in rest)
        self._firsts[low:high] = [f for f, _ in rest]
        self._ends[low:high] = [e for _, e in rest]

    def runs(self, begin: int, end: int | None = None) -> list[tuple[int, int]]:
        """Return some runs, from one index to another, as a slice does."""
        return list(zip(self._firsts[begin:end], self._ends[begin:end], strict=True))

    def around(self, sequence: int) -> tuple[int, int]:
        """Return the run that a sequence of the set is in."""
        at = bisect_right(self._firsts, sequence) - 1
        return self._firsts[at], self._ends[at]

    @property
    def run_count(self) -> int:
        """How many runs it takes."""
        return len(self._firsts)

    @property
    def end(self) -> int | None:
        """The sequence after the last one, None of an empty set."""
        return self._ends[-1] if self._ends else None

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._ends, strict=True)

    def __len__(self) -> int:
        """How many sequences are in the set."""
        return self._count

    def __contains__(self, sequence: int) -> bool:
        at = bisect_right(self._firsts, sequence) - 1
        return at >= 0 and sequence < self._ends[at]

    def __repr__(self) -> str:
        return f"<Ranges {' '.join(f'[{first}, {end})' for first, end in self) or 'empty'}>"
