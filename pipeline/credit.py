"""Credit: how much of a stream may be on its way, in bytes, per connection and stream.

C1  A block costs the size of its slot in the Terminal's ring, however well it compressed: what was granted always fits.
C2  `limit` counts from OPENED and never falls; a block may leave iff ``spent + cost <= limit``.
C3  ``limit = cost of the blocks accepted + min(room, window)``.

Credit is flow only.  That a block is safe is said by `next`, in the same message.
"""

from __future__ import annotations

from typing import Final

WINDOW_TIME_S: Final = 0.35
"""Rate x this much may be on its way: a round trip of 250 ms and 100 ms of our own."""
LEAST_WINDOW: Final = 8 * 1024 * 1024
LEAST_BLOCKS: Final = 4
YOUNG_BLOCKS: Final = 16
"""Of a stream without a rate."""


def window_blocks(cost: int, blocks_per_s: float | None, slots: int) -> int:
    """Return how many blocks may be on their way: at least `LEAST_BLOCKS`, at most half the Terminal's ring."""
    wanted = max(LEAST_BLOCKS, LEAST_WINDOW // cost)
    if blocks_per_s is not None:
        wanted = max(wanted, int(blocks_per_s * WINDOW_TIME_S) + 1)
    return max(1, min(wanted, slots // 2))


def young_blocks(blocks_per_s: float | None) -> int:
    """Return how many blocks may be on their way of a stream whose items are to be young rather than all there.

    Whatever else the link's buffers would take is age.
    """
    return max(LEAST_BLOCKS, int(blocks_per_s * WINDOW_TIME_S) + 1) if blocks_per_s else YOUNG_BLOCKS


class Allowance:
    """The spender's side."""

    def __init__(self) -> None:
        self.limit = 0
        self.spent = 0

    def reset(self, limit: int) -> None:
        """Begin anew, at OPENED."""
        self.limit, self.spent = limit, 0

    def raise_to(self, limit: int) -> None:
        """Take a new limit; an older one that comes late changes nothing (C2)."""
        self.limit = max(self.limit, limit)

    def can_spend(self, cost: int) -> bool:
        """Tell whether a block of this cost may leave now."""
        return self.spent + cost <= self.limit

    def spend(self, cost: int) -> None:
        """Count a block that left."""
        self.spent += cost

    def __repr__(self) -> str:
        return f"<Allowance {self.limit - self.spent} bytes of {self.limit}>"


class Grant:
    """The granter's side: one per stream, in front of one ring."""

    def __init__(self, cost: int, window: int) -> None:
        self.cost = cost
        self.window = window
        self.accepted = 0
        self.announced = 0

    def reset(self, room: int) -> int:
        """Begin anew, at OPENED; return the first limit (bytes).  `room` is in blocks."""
        self.accepted = self.announced = 0
        return self.limit(room)

    def accept(self) -> None:
        """Count a block that went into the ring, or is parked in front of it."""
        self.accepted += 1

    def is_due(self, room: int) -> bool:
        """Tell whether a new limit is worth a message: a quarter of the window became free."""
        return self._limit_blocks(room) - self.announced >= max(1, self.window // 4)

    def limit(self, room: int) -> int:
        """Return the limit to announce now, bytes."""
        self.announced = max(self.announced, self._limit_blocks(room))  # C2
        return self.announced * self.cost

    def _limit_blocks(self, room: int) -> int:
        return self.accepted + max(0, min(room, self.window))  # C3

    def __repr__(self) -> str:
        return f"<Grant {self.announced - self.accepted} blocks out, window {self.window}>"
