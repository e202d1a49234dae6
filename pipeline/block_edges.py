"""Where the blocks of one ring generation must be closed before they are full: a machine without I/O.

That is at the end of the run, or of the ring, and wherever another writer began (a seam): a block has one epoch.
Both who sends a ring's blocks and who stores them ask here, so that the two cut alike.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .forward_effects import RingState

Seam = tuple[int, int]
"""A sequence at which a block must be closed, and the epoch from there on."""


class BlockEdges:
    """Knows the edges ahead of a sequence `at`, and those behind it until they are settled.

    Args:
        epoch: of the items before the first seam.
        seams: those that are known already, ascending.
    """

    def __init__(self, epoch: int, seams: Iterable[Seam] = ()) -> None:
        self.stop_at: int | None = None
        """Where the run ends, once that is known."""
        self._epoch = epoch
        self._seams = deque(seams)

    def note(self, ring: RingState, at: int) -> None:
        """Look whether another writer took the ring over; items below `at` are none of its."""
        newest = self._seams[-1][1] if self._seams else self._epoch
        if ring.epoch != newest:
            boundary = ring.published if ring.takeover is None else ring.takeover
            self._seams.append((max(boundary, at), ring.epoch))

    def settle(self, sequence: int) -> None:
        """Forget the seams up to `sequence`: nobody asks for what is before it again."""
        while self._seams and self._seams[0][0] <= sequence:
            self._epoch = self._seams.popleft()[1]

    def epoch(self, at: int) -> int:
        """Return the epoch of the item at `at`."""
        passed = [epoch for _, epoch in takewhile(lambda seam: seam[0] <= at, self._seams)]
        return passed[-1] if passed else self._epoch

    def end(self, ring: RingState, at: int) -> int | None:
        """Return the sequence at which the run, or this ring, is over, never before `at`; None while unknown."""
        ends = [end for end in (self.stop_at, ring.published if ring.is_final else None) if end is not None]
        return max(min(ends), at) if ends else None

    def top(self, ring: RingState, at: int) -> tuple[int, bool]:
        """Return the sequence before which items from `at` on can be taken, and whether the block is closed there."""
        seam = next((first for first, _ in self._seams if first > at), None)
        limits = [limit for limit in (self.end(ring, at), seam) if limit is not None]
        if not limits or ring.published < min(limits):
            return ring.published, False
        return min(limits), True

    def __repr__(self) -> str:
        return f"<BlockEdges stop_at={self.stop_at} seams={list(self._seams)}>"
