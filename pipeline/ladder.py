"""How much of a stream that need not be whole goes over a link that is too slow for it: a ladder, without I/O.

Rather than whatever happens to find room, evenly spaced blocks go: all, every second, every fifth, every thirtieth.

L1  A step down for every `DOWN_S` in which the link made the stream lose blocks.
L2  A step up after `UP_S` without a loss; twice as long each time that a step up was followed by a step down at once.
"""

from __future__ import annotations

from typing import Final

STEPS: Final = (1, 2, 5, 30)
"""Of so many blocks one goes."""
DOWN_S: Final = 0.5
UP_S: Final = 5.0
MOST_UP_S: Final = 80.0


class Ladder:
    """Where one stream stands."""

    def __init__(self) -> None:
        self.step = 0
        self.changes = 0
        """Steps taken, up or down."""
        self._lost_at: float | None = None
        self._since: float | None = None
        self._patience = UP_S
        self._went_up_at = float("-inf")

    @property
    def factor(self) -> int:
        """Of so many blocks one goes."""
        return STEPS[self.step]

    def takes(self, block: int) -> bool:
        """Tell whether the block of this number goes."""
        return block % self.factor == 0

    def lost(self, now: float) -> None:
        """Note that the link made the stream lose a block."""
        if self._lost_at is None or now - self._lost_at >= DOWN_S:
            if self._lost_at is not None and self.step < len(STEPS) - 1:
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
        return f"<Ladder 1 of {self.factor}>"
