"""Which blocks are cut out of one ring generation, one after the other: a machine without I/O.

C1  Blocks are whole; short only at the end of the run and where the writer changed (epoch).
C2  What the writer overwrote before it was read is a loss of reason `recorder`, told in the next block.
C3  END comes once, behind the last item, and only where the run ends: not in a ring that another one replaced.
"""

from __future__ import annotations

from typing import Final

from pipeline.block import BlockFlag
from pipeline.block_edges import BlockEdges
from pipeline.forward_effects import Cut, RingState

from .reasons import RECORDER

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
        self.ends_run = True
        """The run is over where this ring is."""
        self.is_over = False
        """Its END was cut."""
        self._size = block_items
        self._told = at
        self._edges = BlockEdges(epoch)

    def stop(self, end: int) -> None:
        """End the run at sequence `end`."""
        self._edges.stop_at, self.ends_run = end, True

    @property
    def stop_at(self) -> int | None:
        """Where the run ends, once that is known."""
        return self._edges.stop_at

    def step(self, ring: RingState) -> Cut | None:
        """Return what to read next; None if nothing now.  It counts when `done` is said."""
        if self.is_over and (self.stop_at is not None or ring.is_final):
            return None
        self.is_over = False  # a ring that had ended goes on: another writer took it over
        self._edges.note(ring, self.at)
        if ring.oldest > self.at:  # C2
            self.at = min(ring.oldest + (ring.published - ring.oldest) // MARGIN, ring.published)
        top, is_closed = self._edges.top(ring, self.at)
        count = min(top - self.at, self._size)
        if count == self._size or (count > 0 and is_closed):  # C1
            return self._cut(count, BlockFlag.NONE)
        is_at_end = self.at == self._edges.end(ring, self.at) and self._has_ended(ring)
        return self._cut(0, BlockFlag.END) if is_at_end and self.ends_run else None  # C3

    def done(self, cut: Cut) -> None:
        """The block was stored."""
        self.at = self._told = cut.first + cut.count
        self._edges.settle(self.at)
        self.is_over = bool(cut.flags & BlockFlag.END)

    def _has_ended(self, ring: RingState) -> bool:
        """Whether END belongs here: a ring that was complete before the run began is about to be replaced."""
        return self.stop_at is not None or (ring.is_final and self.at > self.origin)

    def _cut(self, count: int, flags: BlockFlag) -> Cut:
        lost = self.at - self._told
        return Cut(self.at, count, flags, lost, RECORDER if lost else "", self.origin, self._edges.epoch(self.at))

    def __repr__(self) -> str:
        return f"<ItemCuts at={self.at} origin={self.origin} {'over' if self.is_over else 'open'}>"
