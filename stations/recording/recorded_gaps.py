"""What is missing of a recorded stream, where, and why: the journal explains what the files do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .chunk_table import ChunkTable
from .ranges import Ranges
from .reasons import UNKNOWN, Gap, explain

Span = tuple[int, int]
"""First sequence, and the one after the last."""


@dataclass(frozen=True, slots=True)
class RecordedGap(Gap):
    """A run of items that is not in the recording, and where."""

    birth: int
    position: int
    """Index of the item that follows; of an end, the index that it would have."""


def spans_of(table: ChunkTable, told: Mapping[int, list[Gap]]) -> dict[int, Span]:
    """Return by birth where its recording began and ended, stored or missing."""
    origins: dict[int, int] = {}
    for head in table.heads:  # what came out of a spool first did not know the origin
        origins[head.birth] = min(head.origin, origins.get(head.birth, head.origin))
    ends = {birth: end for birth, _, end in table.sequences()}
    spans = {}
    for birth in dict.fromkeys([*table.births, *told]):
        gaps = told.get(birth, [])
        origin = origins.get(birth, min((gap.first for gap in gaps), default=0))
        spans[birth] = origin, max([ends.get(birth, origin), *(gap.end for gap in gaps)])
    return spans


def gaps_in(table: ChunkTable, spans: Mapping[int, Span], told: Mapping[int, list[Gap]]) -> list[RecordedGap]:
    """Return what is missing of each span, births in order, gaps that touch and have the same reason joined."""
    stored, found, begin = table.stored(), [], 0
    for birth, (first, end) in spans.items():
        of_birth = stored.get(birth, Ranges())
        position = begin - first  # of item 0, if nothing was missing
        for gap in explain(of_birth.holes(first, end), told.get(birth, ()), UNKNOWN):
            found.append(RecordedGap(gap.first, gap.count, gap.reason, birth, position + gap.first))
            position -= gap.count
        begin += len(of_birth)
    return found
