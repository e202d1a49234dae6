"""A claim: slots to fill in place, then publish."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .blob import BlobWriter
    from .writer import RingWriter


class Claim:
    """Slots of the ring that only we may change, from ``with`` to publishing.

    ``with ring.claim() as image`` gives one item, ``with ring.claim(n) as run`` (n, *shape). Leaving the block
    publishes all of them with the time of entry; an exception publishes nothing. `publish` inside the block publishes
    a prefix with times of its own. A claim held open costs every reader its slots.
    """

    __slots__ = ("_count", "_ring", "_start")

    def __init__(self, ring: RingWriter, count: int | None) -> None:
        self._ring = ring
        self._count = count
        self._start = -1

    @property
    def sequence(self) -> int:
        """Sequence that the first claimed item will have; -1 before ``with``."""
        return self._start

    def __enter__(self) -> np.ndarray[Any, Any]:
        """Claim; waits only where the writer may (see `RingWriter.create`)."""
        ring, count = self._ring, self._count
        if count is None:
            self._start = start = ring._claim(1)
            return ring._slot(start)
        self._start = start = ring._claim(count)
        return ring._run(start, count)

    def publish(self, k: int | None = None, time_ns: int | None = None, period_ns: int = 0) -> None:
        """Publish the first `k` items and end the claim; all of them if None, none if 0.

        Args:
            k: how many.
            time_ns: CLOCK_MONOTONIC of the first; the time of entry if None.
            period_ns: from one item to the next.
        """
        if k is None:
            k = 1 if self._count is None else self._count
        start, self._start = self._start, -1
        self._ring._publish(start if start >= 0 else 2**64 - 1, k, time_ns, period_ns)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Publish all unless `publish` was called or the block failed."""
        if self._start >= 0:
            self.publish(None if kind is None else 0)


class BlobClaim:
    """One slot of a blob ring: ``with ring.claim() as claim``-ed memory, then ``publish(length)``.

    Leaving the block without `publish` publishes nothing: only the caller knows the length.
    """

    __slots__ = ("_ring", "_start")

    def __init__(self, ring: BlobWriter) -> None:
        self._ring = ring
        self._start = -1

    @property
    def sequence(self) -> int:
        """Sequence that the blob will have; -1 before ``with``."""
        return self._start

    def __enter__(self) -> memoryview:
        """Claim one slot, `max_bytes` of writable memory."""
        self._start = start = self._ring._claim(1)
        return self._ring._slot(start)

    def publish(self, length: int, time_ns: int | None = None) -> None:
        """Publish the first `length` bytes as one blob."""
        start, self._start = self._start, -1
        self._ring._publish_blob(start if start >= 0 else 2**64 - 1, length, time_ns)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Abort unless `publish` was called."""
        if self._start >= 0:
            start, self._start = self._start, -1
            self._ring._publish(start, 0, None, 0)
