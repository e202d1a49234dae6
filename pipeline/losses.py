"""What a forwarder dropped: ranges of sequences with a reason, until the Terminal has been told of them.

Losses are positions, not counters: a range that turns out to have arrived after all is taken out again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

LAPPED: Final = "lapped"
"""The writer overwrote it before it was read."""
LINK: Final = "link"
"""It was given up because the link was down or too slow, or left out so that others, evenly spaced, get through."""
SPOOLED: Final = "spooled"
"""It is in the Pilot's spool and comes by the backfill: pending, until it is stored."""
SPOOL_FULL: Final = "spool_full"
"""The spool had no room for it, or its disk no longer took anything."""
DAMAGED: Final = "damaged"
"""The spool's file does not hold it as it was written."""
LIVE: Final = "live"
"""A hole between backfilled items, which went by the live stream: not lost at all."""


class Loss(NamedTuple):
    """Items first..end-1 were given up."""

    first: int
    end: int
    reason: str


class LossLog:
    """Ranges in ascending order that do not overlap, and the totals of those that are settled."""

    def __init__(self) -> None:
        self._ranges: list[Loss] = []
        self._settled: Counter[str] = Counter()

    def add(self, first: int, end: int, reason: str) -> None:
        """Note a loss after all others; neighbours of one reason become one."""
        if end <= first:
            return
        if self._ranges and self._ranges[-1].end == first and self._ranges[-1].reason == reason:
            first = self._ranges.pop().first
        self._ranges.append(Loss(first, end, reason))

    def settle(self, sequence: int) -> None:
        """The Terminal knows everything below `sequence`: count it and forget it."""
        for loss in self._ranges:
            self._settled[loss.reason] += max(0, min(loss.end, sequence) - loss.first)
        self.discard_below(sequence)

    def discard_below(self, sequence: int) -> None:
        """Forget losses below `sequence`: they arrived after all."""
        self._ranges = [Loss(max(r.first, sequence), r.end, r.reason) for r in self._ranges if r.end > sequence]

    def discard_from(self, sequence: int) -> None:
        """Forget losses from `sequence` on: they will be tried again."""
        self._ranges = [Loss(r.first, min(r.end, sequence), r.reason) for r in self._ranges if r.first < sequence]

    def run_end(self, sequence: int) -> int:
        """Return the end of the losses that begin at `sequence` without a hole; `sequence` if there is none."""
        for loss in self._ranges:
            if loss.first == sequence:
                sequence = loss.end
        return sequence

    def at(self, sequence: int) -> Loss | None:
        """Return the loss that begins at `sequence`."""
        return next((loss for loss in self._ranges if loss.first == sequence), None)

    def total(self, reason: str) -> int:
        """Return the items given up for this reason, settled or not."""
        return self._settled[reason] + sum(r.end - r.first for r in self._ranges if r.reason == reason)

    def __repr__(self) -> str:
        return f"<LossLog settled={dict(self._settled)} open={self._ranges}>"
