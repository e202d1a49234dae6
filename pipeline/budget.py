"""How many bytes may leave in a second: a budget that grows with time, never beyond a burst.

What leaves may overdraw it, and the next then waits: so a block larger than the burst leaves, too.
"""

from __future__ import annotations

from typing import Final

BURST_S: Final = 0.1


class Budget:
    """Bytes a second, as a machine without I/O.

    Args:
        bytes_s: the rate.
    """

    def __init__(self, bytes_s: float) -> None:
        self._rate = bytes_s
        self._left = 0.0
        self._at: float | None = None

    def allows(self, now: float) -> bool:
        """Tell whether something may leave at a time, seconds of any clock that goes on."""
        elapsed = 0.0 if self._at is None else now - self._at
        self._left = min(self._left + elapsed * self._rate, self._rate * BURST_S)
        self._at = now
        return self._left >= 0

    def spend(self, count: int) -> None:
        """Count bytes that left."""
        self._left -= count

    def __repr__(self) -> str:
        return f"<Budget {self._rate:g} bytes/s, {self._left:.0f} left>"
