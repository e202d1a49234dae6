"""What was sent of a stream and is not known to be safe: blocks that the spool may still have to take (F6)."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .forward_effects import Cut
    from .spool_run import SpoolRun


class InFlight:
    """Blocks of items in the order in which they were sent, as far as the ring still has them."""

    def __init__(self) -> None:
        self._cuts: deque[Cut] = deque()

    @property
    def end(self) -> int:
        """The sequence after the last of them; 0 if there is none."""
        return _end(self._cuts[-1]) if self._cuts else 0

    def add(self, cut: Cut) -> None:
        """Note that a block was sent; one without items is nothing to keep."""
        if cut.count:
            self._cuts.append(cut)

    def land(self, sequence: int) -> None:
        """Forget what begins below `sequence`: it is safe, or the ring has it no longer."""
        while self._cuts and self._cuts[0].first < sequence:
            self._cuts.popleft()

    def rewind(self, sequence: int) -> None:
        """Forget what ends beyond `sequence`: it counts as not sent."""
        while self._cuts and _end(self._cuts[-1]) > sequence:
            self._cuts.pop()

    def next(self, sequence: int, spooled: SpoolRun) -> Cut | None:
        """Return the first that reaches beyond `sequence` and is not in the spool."""
        for cut in self._cuts:
            end = _end(cut)
            if end > sequence and spooled.covered(cut.first, end) != [(cut.first, end)]:
                return cut
        return None

    def beyond(self, sequence: int) -> int:
        """Return how many begin at `sequence` or later."""
        return sum(1 for _ in takewhile(lambda cut: cut.first >= sequence, reversed(self._cuts)))

    def __repr__(self) -> str:
        return f"<InFlight {len(self._cuts)} blocks to {self.end}>"


def _end(cut: Cut) -> int:
    return cut.first + cut.count
