"""Which blocks are cut out of one ring generation, one after the other: a machine without I/O.

C1  Blocks are whole; short only at the end of the run and where the writer changed (epoch).
C2  What the writer overwrote before it was read is a loss of reason `recorder`, told in the next block.
C3  END comes once, behind the last item, and only where the run ends: not in a ring that another one replaced.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pipeline.block import BlockFlag
from pipeline.forward_effects import Cut, RingState

from .continuity import RECORDER

MARGIN: Final = 8
"""Of what a ring holds one part in so many is given up with what was lapped, or the next block is lapped, too."""


class ItemCuts:
    """Says what is to be read of a ring.

    Args:
        block_items: items of a whole block.
        origin: sequence at which the run began.
        at: where to go on; `origin`, or behind what is stored already.
        epoch: of the ring's writer now.
    """

    def __init__(self, block_items: int, *, origin: int, at: int, epoch: int) -> None:
        self.origin = origin
        self.at = at
        self.stop_at: int | None = None
        self.ends_run = True
        """The run is over where this ring is."""
        self.is_over = False
        """Its END was cut."""
        self._size = block_items
        self._told = at
        self._epoch = epoch
        self._changes: deque[tuple[int, int]] = deque()
        """Where writers began that were noticed, and their epochs."""

    def stop(self, end: int) -> None:
        """End the run at sequence `end`."""
        self.stop_at, self.ends_run = end, True

    def step(self, ring: RingState) -> Cut | None:
        """Return what to read next; None if nothing now.  It counts when `done` is said."""
        if self.is_over and (self.stop_at is not None or ring.is_final):
            return None
        self.is_over = False  # a ring that had ended goes on: another writer took it over
        self._note_epoch(ring)
        if ring.oldest > self.at:  # C2
            self.at = min(ring.oldest + (ring.published - ring.oldest) // MARGIN, ring.published)
        top, is_closed = self._top(ring)
        count = min(top - self.at, self._size)
        if count == self._size or (count > 0 and is_closed):  # C1
            return self._cut(count, BlockFlag.NONE)
        is_at_end = self.at == self._end(ring) and self._has_ended(ring)
        return self._cut(0, BlockFlag.END) if is_at_end and self.ends_run else None  # C3

    def done(self, cut: Cut) -> None:
        """The block was stored."""
        self.at = self._told = cut.first + cut.count
        self.is_over = bool(cut.flags & BlockFlag.END)

    def _has_ended(self, ring: RingState) -> bool:
        """Whether END belongs here: a ring that was complete before the run began is about to be replaced."""
        return self.stop_at is not None or (ring.is_final and self.at > self.origin)

    def _cut(self, count: int, flags: BlockFlag) -> Cut:
        lost = self.at - self._told
        return Cut(self.at, count, flags, lost, RECORDER if lost else "", self.origin, self._epoch)

    def _end(self, ring: RingState) -> int | None:
        ends = [end for end in (self.stop_at, ring.published if ring.is_final else None) if end is not None]
        return max(min(ends), self.at) if ends else None

    def _top(self, ring: RingState) -> tuple[int, bool]:
        """Return the sequence before which items can be taken, and whether the current block is closed there."""
        change = self._changes[0][0] if self._changes else None
        limits = [limit for limit in (self._end(ring), change) if limit is not None]
        if not limits or ring.published < min(limits):
            return ring.published, False
        return min(limits), True

    def _note_epoch(self, ring: RingState) -> None:
        newest = self._changes[-1][1] if self._changes else self._epoch
        if ring.epoch != newest:
            boundary = ring.published if ring.takeover is None else ring.takeover
            self._changes.append((max(boundary, self.at), ring.epoch))
        while self._changes and self._changes[0][0] <= self.at:
            self._epoch = self._changes.popleft()[1]

    def __repr__(self) -> str:
        return f"<ItemCuts at={self.at} origin={self.origin} {'over' if self.is_over else 'open'}>"
