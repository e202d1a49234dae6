"""Looking at a ring: what its header says, and copies of its newest items. Moves nothing and counts nothing."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from . import _native
from ._native import Run
from .end import RingEnd
from .errors import LayoutError, OverrunError, RingEmptyError
from .item import Item
from .ring import Ring, Role, word
from .segment import array_of

_ATTEMPTS: Final = 3
"""Copies of the newest items that are tried before a ring counts as too shallow for its rate."""


class Look(RingEnd, _native.Reader):
    """What observers and readers share: looking at the newest items, and what the header says."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._is_open = True
        self._times = array_of(ring.times, np.dtype("<i8"), ring.spec.geometry.times_slots)
        self._attach(*ring.sections())

    @property
    def is_blob(self) -> bool:
        """The ring holds byte strings."""
        return self._ring.spec.is_blob

    @property
    def first(self) -> int:
        """First sequence of this generation."""
        return self._ring.first

    @property
    def ended(self) -> bool:
        """The writer has said that no item follows."""
        return self._ring.is_ended

    @property
    def is_superseded(self) -> bool:
        """The name leads to another generation, or nowhere: close and attach anew."""
        return self._ring.is_superseded

    @property
    def writer_alive(self) -> bool:
        """A writer holds its lock; a dead one's ring waits for its successor."""
        self._check_open()
        return self._ring.is_writer_alive

    @property
    def writer_pid(self) -> int:
        """Process of the last writer, for display."""
        return self._ring.words.load(word("writer_pid"))

    @property
    def newest_age_s(self) -> float | None:
        """Seconds since the time of the newest item; None if there is none."""
        self._check_open()
        published = self.published
        if published == self.first:
            return None
        newest = int(self._times[(published - 1) % self._ring.spec.geometry.times_slots])
        return (time.monotonic_ns() - newest) / 1e9

    def close(self) -> None:
        """Let go of the ring; views that are still held stay valid."""
        if self._is_open:
            self._is_open = False
            self._detach()
            del self._times
            self._ring.close()

    def _overrun(self, first: int, count: int, bad: int) -> None:
        """Called by the native view on leaving."""
        raise OverrunError(
            f"{self.name}: {bad} of {count} items from {first} were overwritten during use", first=first, lost=bad
        )

    def _retained(self, first: int, count: int) -> None:
        """Called by the native view: raise OverrunError if items are gone, ValueError if they are not there yet."""
        oldest, published = self.oldest, self.published
        if first < oldest:
            raise OverrunError(
                f"{self.name}: sequence {first} is gone, the oldest retained is {oldest}",
                first=first,
                lost=oldest - first,
            )
        if first + count > published:
            raise ValueError(f"{self.name}: items up to {first + count} asked for, {published} are published")


class ArrayLook(Look):
    """Looking at a ring of arrays."""

    @classmethod
    def _open(cls, name: str, role: Role, wait_for_s: float) -> Ring:
        ring = Ring.attach(name, role, wait_for_s=wait_for_s)
        if ring.spec.is_blob:
            ring.close()
            raise LayoutError(f"{name}: a ring of blobs; attach it with BlobReader")
        return ring

    def latest(self, out: np.ndarray[Any, Any] | None = None) -> Item:
        """Copy the newest item. Never waits; counts nothing and moves nothing.

        Args:
            out: array of the ring's shape and dtype to fill; a new one if None.

        Raises:
            RingEmptyError: nothing was published yet.
            OverrunError: the writer overwrote it during each of 3 copies.
        """
        self._check_open()
        if out is None:
            out = np.empty(self.shape, self.dtype)
        run = self._newest(1, out[np.newaxis])
        return Item(out, run.first, int(run.times[0]))

    def window(self, n: int) -> Run:
        """Copy the last `n` items, fewer if the ring holds fewer. Never waits; counts nothing and moves nothing.

        Raises:
            RingEmptyError: nothing was published yet.
            OverrunError: the writer overwrote the oldest of them during each of 3 copies.
        """
        self._check_open()
        return self._newest(n, None)

    def _newest(self, n: int, out: np.ndarray[Any, Any] | None) -> Run:
        if self.is_blob:
            raise LayoutError(f"{self.name}: a ring of blobs; read it with BlobReader")
        first = count = 0
        for _ in range(_ATTEMPTS):
            published = self.published
            if published == self.first:
                raise RingEmptyError(f"{self.name}: nothing was published yet")
            count = min(n, published - min(self.oldest, published - 1))
            first = published - count
            run = self._copied(first, count, out)
            if run is not None:
                return run
        raise OverrunError(
            f"{self.name}: {count} items from {first} were overwritten during each of {_ATTEMPTS} copies; "
            "ask for fewer or make the ring deeper",
            first=first,
            lost=count,
        )

    def _copied(self, first: int, count: int, out: np.ndarray[Any, Any] | None) -> Run | None:
        data = np.empty((count, *self.shape), self.dtype) if out is None else out
        times = np.empty(count, "<i8")
        return None if self._copy(first, count, data, times) else Run(data, first, count, times)
