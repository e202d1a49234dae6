"""When a recording begins and ends: one line of time for all of its streams, whichever machine's clock each was on.

Streams of one clock are placed by that clock alone, exactly.  Those of different clocks (another machine, another boot)
are placed by the instants that were read on both clocks when their rings were made, as exact as UTC is there.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from pipeline.stream_spec import dtype_of_json

from .errors import SegmentFormatError
from .layout import SegmentHead
from .ranges import Ranges
from .segment_reader import SegmentReader

_STEP_NS: Final = 1
"""Least time that the last item of a recording takes."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of a stream, seen from outside."""

    path: Path
    head: SegmentHead
    runs: tuple[tuple[int, int], ...]
    """Of sequences that are whole, ``[first, end)``."""
    begin_ns: int
    """Time of the first item, on the stream's clock."""
    end_ns: int
    """Time of the last item, and the period that follows it."""

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return math.prod(self.head.shape) * dtype_of_json(self.head.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Extent:
    """Begin and end of a recording, UTC."""

    begin_ns: int
    end_ns: int
    to_utc_ns: Mapping[str, int]
    """By clock domain: what is to be added to its times."""

    def on_clock(self, domain: str, since_begin_ns: int) -> int:
        """Return the time on a clock so long after the recording's begin."""
        return self.begin_ns + since_begin_ns - self.to_utc_ns[domain]

    @property
    def length_ns(self) -> int:
        """From the first item of any stream to the end of the last."""
        return self.end_ns - self.begin_ns


def piece_of(path: Path) -> Piece | None:
    """Look at a file; None if no item in it is whole.

    Raises:
        SegmentFormatError: it is damaged.
    """
    with SegmentReader(path) as segment:
        if not len(segment.rows):
            return None
        first, last = segment.rows[0], segment.rows[-1]
        begin_ns, end_ns = int(first["time_ns"]), int(last["time_ns"])
        # A single item's block tells the stream's period, or none: then the mean of this file does.
        period_ns = int(last["period_ns"]) or (end_ns - begin_ns) // max(1, segment.items - 1)
        return Piece(
            path, segment.head, tuple(segment.runs()), begin_ns, end_ns + max(_STEP_NS, int(last["count"]) * period_ns)
        )


def pieces_of(paths: Iterable[Path]) -> list[Piece]:
    """Look at a stream's files, in order; one that cannot be read is passed over: who reads the stream is told."""
    pieces = []
    for path in paths:
        try:
            piece = piece_of(path)
        except SegmentFormatError as error:
            log.warning("%s", error)
            continue
        if piece is not None:
            pieces.append(piece)
    return pieces


def extent_of(pieces: Iterable[Piece]) -> Extent | None:
    """Place the files of all streams on one line; None if there is none."""
    to_utc_ns: dict[str, int] = {}
    begins: list[int] = []
    ends: list[int] = []
    for piece in pieces:
        head = piece.head
        shift = to_utc_ns.setdefault(head.clock_domain, head.clock_realtime_ns - head.clock_monotonic_ns)
        begins.append(piece.begin_ns + shift)
        ends.append(piece.end_ns + shift)
    return Extent(min(begins), max(ends), to_utc_ns) if begins else None


def missing_in(pieces: Iterable[Piece]) -> int:
    """Return how many items a stream lacks between those of one birth; what is between births nobody knows."""
    stored: defaultdict[int, Ranges] = defaultdict(Ranges)
    for piece in pieces:
        for first, end in piece.runs:
            stored[piece.head.birth].add(first, end)
    return sum(end - first for held in stored.values() for (_, first), (end, _) in pairwise(held))
