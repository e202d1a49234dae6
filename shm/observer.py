"""Looking at a ring without its noticing: read-only, unregistered, polling."""

from __future__ import annotations

from .look import ArrayLook
from .ring import Ring, Role
from .writer import WriterStatistics, statistics_of


class RingObserver(ArrayLook):
    """Opens the segment read-only: `latest`, `window`, header words and the reader table. For monitors.

    A ring of blobs can be observed too, except for its items.
    """

    @classmethod
    def attach(cls, name: str, *, wait_for_s: float = 0.0) -> RingObserver:
        """Attach for looking only.

        Raises:
            SegmentNotFoundError: there is no such ring.
            LayoutError: it is not one that this version reads.
        """
        return cls(Ring.attach(name, Role.OBSERVER, wait_for_s=wait_for_s))

    def statistics(self) -> WriterStatistics:
        """Return the counts of this ring's writers."""
        self._check_open()
        return statistics_of(self._ring)

    def __repr__(self) -> str:
        if not self._is_open:
            return f"<RingObserver {self.name} closed>"
        alive = "alive" if self.writer_alive else "dead"
        readers = len(self.readers())
        return f"<RingObserver {self.name} seq={self.published} slots={self.slots} writer={alive} readers={readers}>"
