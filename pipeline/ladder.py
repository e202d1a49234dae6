"""How much of a stream that need not be whole goes over a link that is too slow for it: a ladder, without I/O.

Rather than whatever happens to find room, evenly spaced blocks go.  Images are first made smaller, then fewer: full,
downsampled, decimated, thumbnails.

L1  A step down for every `DOWN_S` in which the link made the stream lose blocks.
L2  A step up after `UP_S` without a loss; twice as long each time that a step up was followed by a step down at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DOWN_S: Final = 0.5
UP_S: Final = 5.0
MOST_UP_S: Final = 80.0


@dataclass(frozen=True, slots=True)
class Rung:
    """What goes of a stream."""

    name: str
    one_of: int = 1
    """Of so many blocks one."""
    scale: int = 1
    """Of images, of so many pixels each way one (`reduction`)."""


FULL: Final = Rung("full")
IMAGES: Final = (FULL, Rung("downsampled", 1, 2), Rung("decimated", 5, 2), Rung("thumbnails", 30, 8))
OTHERS: Final = (FULL, Rung("every second", 2), Rung("every fifth", 5), Rung("every thirtieth", 30))


class Ladder:
    """Where one stream stands.

    Args:
        rungs: from everything to next to nothing.
    """

    def __init__(self, rungs: Sequence[Rung] = OTHERS) -> None:
        self.rungs = rungs
        self.step = 0
        self.changes = 0
        """Steps taken, up or down."""
        self._lost_at: float | None = None
        self._since: float | None = None
        self._patience = UP_S
        self._went_up_at = float("-inf")

    @property
    def rung(self) -> Rung:
        """What goes now."""
        return self.rungs[self.step]

    def takes(self, block: int) -> bool:
        """Tell whether the block of this number goes."""
        return block % self.rung.one_of == 0

    def lost(self, now: float) -> None:
        """Note that the link made the stream lose a block."""
        if self._lost_at is None or now - self._lost_at >= DOWN_S:
            if self._lost_at is not None and self.step < len(self.rungs) - 1:
                self._patience = min(2 * self._patience, MOST_UP_S) if now - self._went_up_at < UP_S else UP_S
                self._go(self.step + 1)
            self._lost_at = now
        self._since = now

    def tick(self, now: float) -> None:
        """Step up when the link has long been good."""
        if self._since is None:
            self._since = now
        if now - self._since < self._patience:
            return
        self._since, self._lost_at = now, None
        if self.step:
            self._went_up_at = now
            self._go(self.step - 1)

    def _go(self, step: int) -> None:
        self.step = step
        self.changes += 1

    def __repr__(self) -> str:
        return f"<Ladder {self.rung.name}>"
