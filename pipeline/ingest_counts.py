"""What an ingest counts of each stream, in shared memory.

The page is shared with others of the process, so labels are made on the ingest's thread only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from shm import ShmError

from .losses import LIVE, SPOOLED

if TYPE_CHECKING:
    from shm import Counter, Counters

    from .block import Block

REASONS: Final = ("damaged", "duplicate", "ahead", "unknown")

log = logging.getLogger(__name__)


class IngestCounts:
    """Counters ``<stream>.received_…`` and ``<stream>.refused.<why>``.

    Args:
        counters: page to count in, or None.
    """

    def __init__(self, counters: Counters | None) -> None:
        self._page = counters
        self._counters: dict[str, Counter | None] = {}

    def prepare(self, stream: str) -> None:
        """Make the counters of a stream, so that they read 0."""
        names = (
            "received_items",
            "received_blocks",
            "received_bytes",
            "received_lost",
            "received_spooled",
            *(f"refused.{r}" for r in REASONS),
        )
        for name in names:
            self._counter(f"{stream}.{name}")

    def received(self, block: Block) -> None:
        """Count a block that was stored."""
        header = block.header
        self._add(f"{header.stream}.received_items", header.count)
        self._add(f"{header.stream}.received_blocks", 1)
        self._add(f"{header.stream}.received_bytes", header.payload_bytes)
        if header.lost and header.lost_reason != LIVE:
            kind = "spooled" if header.lost_reason == SPOOLED else "lost"
            self._add(f"{header.stream}.received_{kind}", header.lost)

    def refused(self, stream: str, why: str) -> None:
        """Count what was not taken; without a stream if nobody knows whose it is."""
        self._add(f"{stream}.refused.{why}" if stream else f"ingest.refused.{why}", 1)

    def _add(self, label: str, n: int) -> None:
        counter = self._counter(label)
        if counter is not None:
            counter.add(n)

    def _counter(self, label: str) -> Counter | None:
        if self._page is None:
            return None
        if label not in self._counters:
            try:
                self._counters[label] = self._page.counter(label)
            except ShmError as error:  # counting is no reason not to receive
                log.warning("%s is not counted: %s", label, error)
                self._counters[label] = None
        return self._counters[label]
