"""One slot of a blob ring, to fill in place; claims of array rings are native."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from .errors import ClosedError


class BlobSlots(Protocol):
    """What a claim needs of its writer."""

    def claim_slot(self) -> tuple[int, memoryview]:
        """Claim one slot; return its sequence and its memory."""

    def publish_slot(self, start: int, length: int | None, time_ns: int | None) -> None:
        """Publish one blob, or nothing if `length` is None."""


class BlobClaim:
    """``with claim as memory``, then ``claim.publish(length)`` inside the block.

    Leaving the block without `publish` publishes nothing: only the caller knows the length.
    """

    __slots__ = ("_slots", "_start")

    def __init__(self, slots: BlobSlots) -> None:
        self._slots = slots
        self._start: int | None = None

    @property
    def sequence(self) -> int:
        """Sequence that the blob will have; -1 while the claim is not open."""
        return -1 if self._start is None else self._start

    def __enter__(self) -> memoryview:
        """Claim one slot: `max_bytes` of writable memory."""
        self._start, memory = self._slots.claim_slot()
        return memory

    def publish(self, length: int, time_ns: int | None = None) -> None:
        """Publish the first `length` bytes as one blob; `time_ns` is the time of entry if None."""
        if self._start is None:
            raise ClosedError("this claim is not open: enter it with `with`, publish it once")
        self._slots.publish_slot(self._start, length, time_ns)
        self._start = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Abort unless `publish` was called."""
        if self._start is not None:
            start, self._start = self._start, None
            self._slots.publish_slot(start, None, None)
