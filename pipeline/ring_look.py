"""Looks at one ring generation over and over, for the machines that are told what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .forward_effects import RingState

if TYPE_CHECKING:
    from shm import RingObserver, RingReader

    from .stream_spec import StreamSpec

LOOK_S: Final = 0.1
"""A ring that is not there, or was replaced, is looked for this often: that costs system calls."""
LEAD_S: Final = 0.01
"""So long before a block should be full its source is listened to: sources hand out some milliseconds at a time."""


class RingLook:
    """One ring, seen by one thread."""

    def __init__(self, ring: RingReader | RingObserver) -> None:
        self._ring = ring
        self._seen = (ring.epoch, ring.published)

    def state(self, *, is_replaced: bool = False) -> RingState:
        """Return the ring as it is now; nothing follows in one that `is_replaced`.

        A writer goes on where a dead one stopped, and whoever looks does so far more often than writers restart.  So
        one that took over began at what was published the last time.
        """
        ring = self._ring
        epoch, is_final = ring.epoch, ring.ended or is_replaced  # before `published`: nothing comes after it
        published = ring.published
        takeover = self._seen[1] if epoch != self._seen[0] else None
        self._seen = (epoch, published)
        return RingState(published, ring.oldest, epoch, takeover, is_final)

    def __repr__(self) -> str:
        return f"<RingLook {self._ring!r}>"


def held(ring: RingReader | RingObserver) -> range:
    """Return the sequences that can be relied on: an eighth of the ring away from what is overwritten next."""
    published = ring.published
    return range(min(published, max(ring.first, ring.oldest, published - ring.slots * 7 // 8)), published)


def until_full_s(spec: StreamSpec, at: int, published: int) -> float:
    """Return the seconds for which a source, at its rate, cannot fill the block from `at` on; 0 if it might."""
    if spec.rate is None or spec.block_items == 1:
        return 0.0
    return max(0.0, (at + spec.block_items - published) / spec.rate - LEAD_S)
