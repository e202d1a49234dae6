"""How many items may wait in a ring for a link that is down, slow, or silent (F4 of `forward_stream`)."""

from __future__ import annotations

from typing import Final

BLIP_S: Final = 0.2
"""A link that is back within this costs nothing but what is lapped."""
HURRY_S: Final = 0.5
"""A run that is to end and gets no credit for so long is ended by way of the spool."""
GRACE_S: Final = 1.0
"""So long a link may be away before a ring that can wait loses blocks; its writer waits no longer than that anyhow."""


class Patience:
    """Decides how much may wait, from how long the link has been away or has granted nothing.

    Args:
        keep: items that may wait for a link that is down ...
        most: ... and for one that is slow.
        can_wait: the ring's writer waits for its readers.
    """

    def __init__(self, keep: int, most: int, *, can_wait: bool) -> None:
        self.keep = keep
        self._most = most
        self._can_wait = can_wait
        self._is_up = False
        self._down_since: float | None = None
        self._starved_since: float | None = None

    def link(self, is_up: bool, now: float) -> None:
        """Note that the connection was made or lost."""
        self._is_up = is_up
        self._down_since = None if is_up else now

    def fed(self) -> None:
        """Note that credit came."""
        self._starved_since = None

    def abandon(self) -> None:
        """Let nothing wait any more."""
        self.keep = self._most = 0
        self.link(False, float("-inf"))

    def is_held_up(self, now: float, *, is_starved: bool) -> bool:
        """Tell whether the end of a run would wait for a link that does not carry what is left of it."""
        if not is_starved:
            self._starved_since = None
        elif self._starved_since is None:
            self._starved_since = now
        starved_s = 0.0 if self._starved_since is None else now - self._starved_since
        return max(self._down_s(now), starved_s) >= HURRY_S

    def allowed(self, now: float, *, is_refused: bool, is_slow: bool) -> int | None:
        """Return how many items may wait now, None for any number.

        Args:
            now: time, seconds.
            is_refused: the Terminal said that it cannot take the stream for the moment.
            is_slow: credit trickles in, or nothing of what arrives becomes durable.
        """
        down_s = self._down_s(now)
        if self._can_wait and down_s < GRACE_S:
            return None
        if down_s >= BLIP_S or is_refused:
            return self.keep
        # While credit trickles in, catching up from a full ring must not cost what could still be sent.
        return self._most if is_slow else None

    def _down_s(self, now: float) -> float:
        if not self._is_up and self._down_since is None:
            self._down_since = now  # never was up
        return 0.0 if self._down_since is None else now - self._down_since
