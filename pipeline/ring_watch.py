"""Follows a ring of which nothing is forwarded yet, so that a run can begin with what it retains.

It opens the ring for looking only: nobody waits for it, nothing is counted.  What it must know of the items behind it
is where they do not follow each other evenly, for a block has one period: at each takeover by another writer, where it
came itself, and of what was before where their times say so.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from shm import OverrunError, RingObserver, ShmError

from .ring_look import LOOK_S, RingLook, held

if TYPE_CHECKING:
    from .block_edges import Seam

GAP_S: Final = 0.05
"""Items that come so much later than they should do not follow each other; a writer's restart takes 0.2 s at least."""


class RingWatch:
    """Watches one named ring; one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ring: RingObserver | None = None
        self._look_at = 0.0
        self._epoch = 0
        """Of the oldest items."""
        self._seams: deque[Seam] = deque()
        self._look: RingLook | None = None

    def look(self, now: float) -> None:
        """Look at the ring as it is now; often enough to see a writer die before another one takes over."""
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look_around()
        if self._look is None:
            return
        ring = self._look.state()
        if ring.takeover is not None:
            self._seams.append((ring.takeover, ring.epoch))
        while self._seams and self._seams[0][0] <= ring.oldest:
            self._epoch = self._seams.popleft()[1]

    def seams(self, birth: int, origin: int) -> tuple[int, tuple[Seam, ...]] | None:
        """Return the epoch of item `origin` and the seams behind it; None if another ring was watched."""
        if self._ring is None or self._ring.birth != birth:
            return None
        before = [epoch for sequence, epoch in self._seams if sequence <= origin]
        behind = tuple(seam for seam in self._seams if seam[0] > origin)
        return (before[-1] if before else self._epoch), behind

    def close(self) -> None:
        """Let go of the ring."""
        if self._ring is not None:
            self._ring.close()
            self._ring = self._look = None

    def __repr__(self) -> str:
        return f"<RingWatch {self._name} seams={len(self._seams)} {self._ring!r}>"

    def _look_around(self) -> None:
        """Find a ring that is new: it costs system calls."""
        if self._ring is not None and not self._ring.is_superseded:
            return
        self.close()
        self._seams.clear()
        try:
            self._ring = RingObserver.attach(self._name)
        except ShmError:
            return
        epoch, published = self._ring.epoch, self._ring.published
        self._epoch, self._look = epoch, RingLook(self._ring)
        if published > self._ring.first:
            self._seams.extend((sequence, epoch) for sequence in (*gaps_in(self._ring), published))


def gaps_in(ring: RingObserver) -> list[int]:
    """Return the sequences of retained items before which time is missing, of a ring of evenly spaced ones."""
    rate = ring.meta.get("rate")
    if not rate or not ring.meta.get("regular", True):
        return []
    sequences = held(ring)
    times = np.empty(0, np.int64)
    with suppress(OverrunError), ring.view(len(sequences), at=sequences.start) as items:
        times = np.array(items.times)
    return (np.flatnonzero(np.diff(times) > (GAP_S + 2 / rate) * 1e9) + sequences.start + 1).tolist()
