"""Where each item of a stream lies: the chunks of all files in one order, each item once.

Files need not be in the order of their items: what came late out of a spool lies in later files, between the live ones.
Births are ordered by their first time, placed in UTC; within a birth sequences ascend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.reduction import scale_of

from .errors import SegmentFormatError
from .layout import SegmentHead
from .ranges import Ranges
from .segment_reader import SegmentReader

CHUNK: Final = np.dtype(
    [
        ("file", "<i4"),
        ("row", "<i8"),
        ("birth", "<i4"),
        ("first", "<u8"),
        ("skip", "<i8"),
        ("count", "<i8"),
        ("time_ns", "<i8"),
        ("period_ns", "<i8"),
        ("times_at", "<i8"),
        ("scale", "u1"),
    ]
)
"""`first` and `count` are of what is used of a chunk, from its item `skip` on; the times are those of its own first."""


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """The chunks of a stream in the order of their items."""

    paths: tuple[Path, ...]
    heads: tuple[SegmentHead, ...]
    """Of each path."""
    births: tuple[int, ...]
    to_utc_ns: NDArray[np.int64]
    """By birth: what is to be added to a time."""
    chunks: NDArray[np.void]
    """Rows of `CHUNK`."""
    times: NDArray[np.int64]
    """Times of the items of irregular blocks; `times_at` says where a chunk's begin, -1: they follow from its row."""
    begins: NDArray[np.int64]
    """Position of each chunk's first item, and at the end how many items there are."""
    problems: tuple[str, ...] = ()
    """What is wrong with files that cannot be read, or not to their end."""

    def __len__(self) -> int:
        """How many items there are."""
        return int(self.begins[-1])

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the chunk of each position, and which of the chunk's used items it is."""
        at = np.searchsorted(self.begins, positions, "right") - 1
        return at, positions - self.begins[at]

    def sequence(self, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the sequence of each position."""
        at, within = self.locate(positions)
        return np.asarray(self.chunks["first"][at] + within.astype(np.uint64), np.uint64)

    def time(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the time of each position, ns on the stream's clock."""
        at, within = self.locate(positions)
        within = within + self.chunks["skip"][at]
        times = self.chunks["time_ns"][at] + within * self.chunks["period_ns"][at]
        told = self.chunks["times_at"][at]
        irregular = told >= 0
        times[irregular] = self.times[told[irregular] + within[irregular]]
        return np.asarray(times, np.int64)

    def scale(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return how much smaller the image of each position was made, each way; 1: it is as it was acquired."""
        at, _ = self.locate(positions)
        return np.asarray(self.chunks["scale"][at], np.uint8)

    def utc(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the time of each position, ns since 1970 as the stream's machine knew it when its ring was made."""
        at, _ = self.locate(positions)
        return np.asarray(self.time(positions) + self.to_utc_ns[self.chunks["birth"][at]], np.int64)

    def birth(self, position: int) -> int:
        """Return the birth of a position."""
        return self.births[int(self.chunks["birth"][self.locate(np.array([position]))[0][0]])]

    def runs(self) -> list[tuple[int, int, int]]:
        """Return (birth, begin, end) in positions, one for each birth that has items."""
        edges = np.searchsorted(self.chunks["birth"], np.arange(len(self.births) + 1))
        spans = [(int(self.begins[a]), int(self.begins[b])) for a, b in pairwise(edges)]
        return [(birth, begin, end) for birth, (begin, end) in zip(self.births, spans, strict=True) if begin < end]

    def sequences(self) -> Iterator[tuple[int, int, int]]:
        """Yield (birth, first, end): from which sequence to which each birth has items."""
        for birth, begin, end in self.runs():
            first, last = self.sequence(np.array([begin, end - 1]))
            yield birth, int(first), int(last) + 1

    def stored(self) -> dict[int, Ranges]:
        """Return the sequences of each birth that has items."""
        found = {}
        for birth, begin, end in self.runs():
            low, high = np.searchsorted(self.begins, (begin, end))
            firsts = self.chunks["first"][low:high].astype(np.int64)
            ends = firsts + self.chunks["count"][low:high]
            edges = np.flatnonzero(firsts[1:] != ends[:-1])
            runs = zip(firsts[[0, *(edges + 1)]].tolist(), ends[[*edges, -1]].tolist(), strict=True)
            found[birth] = Ranges(runs)
        return found

    def take(self, runs: Iterable[tuple[int, int]]) -> ChunkTable:
        """Return the table of some runs of positions, ascending and disjoint."""
        parts = [self._part(begin, end) for begin, end in runs if begin < end]
        return self._with(np.concatenate([self.chunks[:0], *parts]))

    def without(self, chunks: Iterable[int]) -> ChunkTable:
        """Return the table without some chunks."""
        return self._with(np.delete(self.chunks, list(chunks)))

    def between(self, bounds: Callable[[int], tuple[int, int]]) -> ChunkTable:
        """Return the table of what was between two times of its own clock, which may be another for each birth.

        Args:
            bounds: from a birth, the time at which to begin and that at which to end.
        """
        runs = []
        for birth, begin, end in self.runs():
            from_ns, to_ns = bounds(birth)
            runs.append((self._bisect(from_ns, begin, end), self._bisect(to_ns, begin, end)))
        return self.take(runs)

    def _bisect(self, time_ns: int, low: int, high: int) -> int:
        """Return the first position of a birth's run that is not before a time; not all of its times are made."""
        while low < high:
            middle = (low + high) // 2
            if self.time(np.array([middle]))[0] < time_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def _part(self, begin: int, end: int) -> NDArray[np.void]:
        at = int(np.searchsorted(self.begins, begin, "right")) - 1
        upto = int(np.searchsorted(self.begins, end, "left"))
        part = self.chunks[at:upto].copy()
        part["count"][-1] -= self.begins[upto] - end
        skipped = begin - int(self.begins[at])
        part["skip"][0] += skipped
        part["first"][0] += np.uint64(skipped)
        part["count"][0] -= skipped
        return part

    def _with(self, chunks: NDArray[np.void]) -> ChunkTable:
        return replace(self, chunks=chunks, begins=_begins(chunks))


def read_table(paths: Sequence[Path]) -> ChunkTable:
    """Read the tables of a stream's files; one that cannot be read is a problem of the result."""
    known: list[Path] = []
    heads: list[SegmentHead] = []
    parts, times, problems, times_at = [], [np.empty(0, np.int64)], [], 0
    for path in paths:
        try:
            with SegmentReader(path) as segment:
                is_told = segment.head.per_item and segment.head.block_items > 1
                parts.append(_rows_of(segment, len(heads), times_at if is_told else None))
                if is_told:
                    times.append(segment.times)
                    times_at += len(segment.times)
                known.append(path)
                heads.append(segment.head)
                if segment.damage:
                    problems.append(f"{path.name}: {segment.damage}")
        except SegmentFormatError as error:
            problems.append(str(error))
    chunks = np.concatenate([np.empty(0, CHUNK), *parts])
    births, to_utc_ns = _order_births(parts, heads)
    rank = {birth: index for index, birth in enumerate(births)}
    chunks["birth"] = np.array([rank[head.birth] for head in heads], np.int32)[chunks["file"]] if heads else 0
    chunks = _each_once(chunks[np.lexsort((chunks["first"], chunks["birth"]))])
    all_times, begins = np.concatenate(times), _begins(chunks)
    return ChunkTable(tuple(known), tuple(heads), tuple(births), to_utc_ns, chunks, all_times, begins, tuple(problems))


def _rows_of(segment: SegmentReader, file: int, times_at: int | None) -> NDArray[np.void]:
    found = np.zeros(len(segment.rows), CHUNK)
    found["file"], found["row"] = file, np.arange(len(found))
    for name in ("count", "time_ns", "period_ns"):
        found[name] = segment.rows[name]
    found["first"] = segment.rows["first_seq"]
    codecs, which = np.unique(segment.rows["codec"], return_inverse=True)
    found["scale"] = np.array([scale_of(codec.decode(errors="replace")) for codec in codecs], "u1")[which]
    found["times_at"] = -1 if times_at is None else times_at + segment.positions
    return found


def _order_births(
    parts: Sequence[NDArray[np.void]], heads: Sequence[SegmentHead]
) -> tuple[list[int], NDArray[np.int64]]:
    shifts: dict[str, int] = {}
    begins: dict[int, int] = {}
    shift_of: dict[int, int] = {}
    for rows, head in zip(parts, heads, strict=True):
        # One shift for all births of a clock: a step of UTC between them must not change their order.
        shift = shifts.setdefault(head.clock_domain, head.clock_realtime_ns - head.clock_monotonic_ns)
        shift_of[head.birth] = shift
        if len(rows):
            begin = int(rows["time_ns"][0]) + shift
            begins[head.birth] = min(begins.get(head.birth, begin), begin)
    births = sorted(shift_of, key=lambda birth: (birth not in begins, begins.get(birth, 0)))
    return births, np.array([shift_of[birth] for birth in births], np.int64)


def _each_once(chunks: NDArray[np.void]) -> NDArray[np.void]:
    """Leave out of sorted chunks what an earlier one holds already."""
    if not len(chunks):
        return chunks
    firsts, ends = (
        chunks["first"].astype(np.int64),
        (chunks["first"] + chunks["count"].astype(np.uint64)).astype(np.int64),
    )
    done = np.empty_like(ends)
    edges = [0, *(np.flatnonzero(np.diff(chunks["birth"])) + 1), len(chunks)]
    for low, high in pairwise(edges):
        done[low], done[low + 1 : high] = firsts[low], np.maximum.accumulate(ends[low:high])[:-1]
    known = np.clip(done - firsts, 0, chunks["count"])
    chunks["first"] += known.astype(np.uint64)
    chunks["skip"] += known
    chunks["count"] -= known
    return chunks[chunks["count"] > 0]


def _begins(chunks: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(chunks["count"], dtype=np.int64)])
