"""Rings whose items are byte strings of varying length, up to a maximum."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import table
from .claim import BlobClaim
from .errors import LayoutError, OverrunError, RingEmptyError, SpecError
from .item import Blob, Run
from .reader import Look, ReaderEnd, Start
from .ring import Ring, Role
from .segment import page_bytes
from .spec import RingSpec
from .table import Policy
from .view import View
from .waiter import Waiter, WaiterFactory
from .writer import Notifier, WriterEnd, slots_of

if TYPE_CHECKING:
    from collections.abc import Buffer

_ATTEMPTS = 3


class BlobWriter(WriterEnd):
    """The one writer of a ring of byte strings."""

    @classmethod
    def create(
        cls,
        name: str,
        *,
        max_bytes: int,
        slots: int | None = None,
        seconds: float | None = None,
        rate: float | None = None,
        can_wait: bool = False,
        timeout_s: float = 1.0,
        mode: int = 0o600,
        notifier: Notifier | None = None,
        meta: MappingABC[str, Any] | None = None,
        first: int = 0,
    ) -> BlobWriter:
        """Create a ring of blobs, or take over one whose writer died; see `RingWriter.create`.

        Args:
            name: full name.
            max_bytes: of one blob.
            slots: blobs that the ring holds, each with room for `max_bytes`.
            seconds: instead of slots, with rate.
            rate: blobs per second.
            can_wait: lossless readers are waited for.
            timeout_s: how long, per claim.
            mode: of the segment.
            notifier: told when a reader that waits for notices has something to read.
            meta: JSON-able, up to 2 KiB.
            first: sequence of the first blob.
        """
        count = slots_of(slots, seconds, rate)
        spec = RingSpec.of_blobs(max_bytes, count, can_wait=can_wait, meta=meta or {}, granule=page_bytes())
        return cls(Ring.create(name, spec, mode=mode, first=first), timeout_s, notifier)

    @property
    def max_bytes(self) -> int:
        """Longest blob."""
        return self._ring.spec.geometry.item_bytes

    def write(self, *parts: Buffer, time_ns: int | None = None) -> int:  # type: ignore[override]  # blobs, not arrays
        """Copy the parts, one after the other, as one blob; return its sequence.

        Raises:
            ValueError: together they are longer than `max_bytes`.
        """
        return self._write_parts(parts, time_ns)

    def claim(self) -> BlobClaim:
        """Return one slot to fill in place: ``with ring.claim() as view``, then ``claim.publish(length)``."""
        return BlobClaim(self)

    def _slot(self, sequence: int) -> memoryview:
        g = self._ring.spec.geometry
        start = sequence % g.slots * g.stride
        return memoryview(self._ring.data)[start : start + g.item_bytes]


class BlobReader(ReaderEnd):
    """One reader of a ring of byte strings, registered in its table; see `RingReader`."""

    @classmethod
    def attach(
        cls,
        name: str,
        *,
        policy: Policy = "latest",
        reader: str = "",
        start: Start = "newest",
        waiter: Waiter | WaiterFactory | None = None,
        wait_for_s: float = 0.0,
    ) -> BlobReader:
        """Attach to a ring of blobs and register; arguments and errors as `RingReader.attach`."""
        if policy not in table.POLICIES:
            raise SpecError(f"policy={policy!r}: expected one of {', '.join(table.POLICIES)}")
        ring = Ring.attach(name, Role.READER, wait_for_s=wait_for_s)
        try:
            if not ring.spec.is_blob:
                raise LayoutError(f"{name}: a ring of arrays; attach it with RingReader")
            return cls(ring, policy, reader, start, waiter)
        except BaseException:
            ring.close()
            raise

    def __init__(
        self, ring: Ring, policy: Policy, reader: str, start: Start, waiter: Waiter | WaiterFactory | None
    ) -> None:
        super().__init__(ring, policy, reader, start, waiter)
        self._memory = memoryview(ring.data)
        self._lengths = np.frombuffer(ring.lengths, "<u8")  # type: ignore[call-overload]  # a buffer, of a blob ring

    @property
    def max_bytes(self) -> int:
        """Longest blob."""
        return self._ring.spec.geometry.item_bytes

    def read(self, timeout_s: float | None = None) -> Blob | None:
        """Copy the next blob by policy; None after `timeout_s`, or when the ring has ended and is drained."""
        self._check_open()
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while self.lag or self._wait_item(deadline):
            taken = self._take_blob()
            if taken is not None:
                return Blob(*taken)
        return None

    def __iter__(self) -> Iterator[Blob]:
        """Yield blobs by policy until the ring has ended and is drained."""
        while (blob := self.read()) is not None:
            yield blob

    def latest(self) -> Blob:
        """Copy the newest blob. Never waits; counts nothing and moves nothing.

        Raises:
            RingEmptyError: nothing was published yet.
            OverrunError: the writer overwrote it during each of 3 copies.
        """
        return self.window(1)[0]

    def window(self, n: int) -> list[Blob]:
        """Copy the last `n` blobs, fewer if the ring holds fewer. Never waits; counts nothing and moves nothing."""
        self._check_open()
        first = count = 0
        for _ in range(_ATTEMPTS):
            published = self.published
            if published == self.first:
                raise RingEmptyError(f"{self.name}: nothing was published yet")
            count = min(n, published - min(self.oldest, published - 1))
            first = published - count
            views, times = self._spans(first, count)
            blobs = [Blob(bytes(v), first + i, int(t)) for i, (v, t) in enumerate(zip(views, times, strict=True))]
            if not self._bad(first, count):
                return blobs
        raise OverrunError(
            f"{self.name}: {count} blobs from {first} were overwritten during each of {_ATTEMPTS} copies",
            first=first,
            lost=count,
        )

    def view(self, max_items: int | None = None, *, at: int | None = None) -> View:
        """Look at blobs where they are: ``with reader.view() as run``; `run.data` is a list of memoryviews.

        As `RingReader.view`: validated on leaving, moves on unless `at` is given.
        """
        if at is not None:
            return View(self, partial(self._retained_run, at, 1 if max_items is None else max_items), explicit=True)
        if max_items is None:
            max_items = 1 if self._policy == "latest" else self.slots
        return View(self, partial(self._next_run, max_items), explicit=False)

    def _next_run(self, most: int) -> Run:
        self._begin_view()
        first, count = self._begin(most)
        return self._run(first, count)

    def _retained_run(self, first: int, count: int) -> Run:
        self._check_open()
        self._retained(first, count)
        return self._run(first, count)

    def _run(self, first: int, count: int) -> Run:
        data, times = self._spans(first, count)
        return Run(data, first, count, times)

    def _spans(self, first: int, count: int) -> tuple[list[memoryview], np.ndarray[Any, Any]]:
        """Return read-only views of blobs, their lengths clamped (validated later), and their times."""
        g = self._ring.spec.geometry
        moment = first % g.times_slots
        lengths = self._lengths[moment : moment + count].tolist()
        start = first % g.slots * g.stride
        starts = range(start, start + count * g.stride, g.stride)
        views = [self._memory[s : s + min(length, g.item_bytes)] for s, length in zip(starts, lengths, strict=True)]
        return views, self._times[moment : moment + count]


__all__ = ["Blob", "BlobReader", "BlobWriter", "Look"]
