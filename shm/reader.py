"""The reading end of a ring of arrays.

I3  A reader loads `claimed` after its last use of the bytes, behind a fence, and drops what the writer has reached.
It lives in the native code; here are joining by policy, waiting, views and iteration.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import numpy as np

from . import _native, table
from ._native import Run
from .clock import ClockPair
from .errors import ClosedError, LayoutError, OverrunError, RingEmptyError, SpecError
from .item import Item
from .ring import Ring, Role, word
from .segment import array_of
from .table import Policy
from .waiter import SLICE_S, FutexWaiter, Waiter, WaiterFactory

Start = Literal["newest", "oldest"] | int
_ATTEMPTS: Final = 3
"""Copies of the newest items that are tried before a ring counts as too shallow for its rate."""


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    """What one reader has seen; taken + skipped + lapped + torn is how far it came since it joined."""

    position: int
    lag: int
    taken: int
    skipped: int
    lapped: int
    torn: int
    demoted: bool


class Look(_native.Reader):
    """What observers and readers share: looking at the newest items, and what the header says."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._is_open = True
        self._times = array_of(ring.times, np.dtype("<i8"), ring.spec.geometry.times_slots)
        self._attach(*ring.sections())

    @property
    def name(self) -> str:
        """Full name of the ring."""
        return self._ring.name

    @property
    def segment_name(self) -> str:
        """Name of the segment, /pl… of at most 30 characters."""
        return self._ring.segment.name

    @property
    def slots(self) -> int:
        """Items that the ring holds."""
        return self._ring.spec.geometry.slots

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item; of a blob ring (max_bytes,)."""
        return self._ring.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of one item."""
        return self._ring.spec.dtype

    @property
    def is_blob(self) -> bool:
        """The ring holds byte strings."""
        return self._ring.spec.is_blob

    @property
    def can_wait(self) -> bool:
        """The writer waits for lossless readers before it leaves them behind."""
        return self._ring.spec.can_wait

    @property
    def meta(self) -> MappingABC[str, Any]:
        """What the creator said about the stream."""
        return self._ring.spec.meta

    @property
    def birth(self) -> int:
        """64 random bits of this generation."""
        return self._ring.birth

    @property
    def epoch(self) -> int:
        """Writers that this generation has had; above 1 after a takeover."""
        return self._ring.epoch

    @property
    def clock(self) -> ClockPair:
        """Clock domain of the times, and one instant on both clocks."""
        return self._ring.clock

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

    @property
    def is_closed(self) -> bool:
        """`close` was called."""
        return not self._is_open

    def readers(self) -> list[table.ReaderRow]:
        """Return who reads this ring."""
        self._check_open()
        return table.rows(self._ring)

    def close(self) -> None:
        """Let go of the ring; views that are still held stay valid."""
        if self._is_open:
            self._is_open = False
            self._detach()
            del self._times
            self._ring.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError(f"{self.name}: this reader is closed")

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


class ReaderEnd(Look):
    """What readers of arrays and of blobs share: registering, position, waiting. Serves one thread."""

    def __init__(
        self, ring: Ring, policy: Policy, reader: str, start: Start, waiter: Waiter | WaiterFactory | None
    ) -> None:
        super().__init__(ring)
        self._policy = policy
        self._entry = table.Entry.take(ring)
        try:
            self._entry.describe(reader, policy)
            self._enter(policy, start)
        except BaseException:
            self._entry.release()
            raise
        made = FutexWaiter(self) if waiter is None else waiter
        self._waiter = _waiter_of(made, self)

    def _enter(self, policy: Policy, start: Start) -> None:
        wanted = {"newest": self.published, "oldest": self.oldest}.get(cast("str", start), start)
        if not isinstance(wanted, int) or isinstance(start, bool):
            raise SpecError(f"start={start!r}: expected 'newest', 'oldest' or a sequence")
        if wanted < 0:
            raise SpecError(f"start={wanted}: sequences begin at 0")
        kind = _native.LOSSLESS if policy == "lossless" else _native.ACTIVE
        # Activated first, then `claimed` is looked at (in the first read): see Entry.activate.
        self._entry.activate(kind, wanted)
        self._join(self._entry.index, table.POLICIES.index(policy), wanted, start == "oldest")

    @property
    def policy(self) -> Policy:
        """latest, drop_oldest or lossless."""
        return self._policy

    @property
    def waiter(self) -> Waiter:
        """What this reader sleeps with."""
        return self._waiter

    def seek(self, sequence: int) -> None:
        """Go on at `sequence`; what lies between is counted nowhere."""
        self._check_open()
        self._seek(sequence)

    def statistics(self) -> ReaderStatistics:
        """Return this reader's counts."""
        return ReaderStatistics(self.position, self.lag, self.taken, self.skipped, self.lapped, self.torn, self.demoted)

    def arm(self) -> bool:
        """Ask the writer's notifier for one notice; True if there is news already and none will be needed.

        For those who poll many rings themselves: make your socket ready, `arm` every ring, sleep only if all
        returned False, and look again after at most 20 ms.
        """
        return self._arm(_native.ARMED_NOTICE)

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read or the ring has ended; False after `timeout_s`."""
        if self.has_news:
            return True
        waiter = self._waiter
        native = isinstance(waiter, FutexWaiter)
        deadline = time.monotonic() + timeout_s
        left = timeout_s
        while left > 0:
            if native:
                news = waiter.wait(left)
            else:
                waiter.arm()
                news = self.arm() or self._slept(waiter, min(left, SLICE_S))
            if news:
                waiter.disarm()
                return True
            if not self._ring.segment.is_linked():
                return self.has_news
            left = deadline - time.monotonic()
        return self.has_news

    def _slept(self, waiter: Waiter, timeout_s: float) -> bool:
        waiter.wait(timeout_s)
        return self.has_news  # whatever the waiter says: a notice may be lost, or old

    def close(self) -> None:
        """Leave the reader table and let go of the ring."""
        if self._is_open:
            self._entry.release()
            del self._waiter  # it knows us: without this cycle the memory goes at once
        super().close()

    def __repr__(self) -> str:
        if not self._is_open:
            return f"<{type(self).__name__} {self.name} closed>"
        state = " demoted" if self.demoted else ""
        return (
            f"<{type(self).__name__} {self.name} {self._policy}{state} seq={self.position} behind={self.lag} "
            f"skipped={self.skipped} lapped={self.lapped} torn={self.torn}>"
        )

    @property
    def _is_over(self) -> bool:
        """Nothing to read, and nothing will come."""
        return self.lag == 0 and (self.ended or self.is_superseded)

    def _wait_item(self, deadline: float) -> bool:
        """Wait for an item; False at the deadline or when none will come."""
        while not self.lag:
            left = deadline - time.monotonic()
            if self._is_over or left <= 0:
                return self.lag > 0  # published between our looks
            self.wait(min(left, 1.0))
        return True


def _waiter_of(given: Waiter | WaiterFactory, reader: ReaderEnd) -> Waiter:
    # A class has the methods of its instances, so it would pass for a waiter.
    if isinstance(given, Waiter) and not isinstance(given, type):
        return given
    return given(reader)


class RingReader(ReaderEnd, ArrayLook):
    """One reader of a ring of arrays, registered in its table.

    with RingReader.attach("cam0", policy="latest") as ring:
        for item in ring:
            show(item.data)
    """

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
    ) -> RingReader:
        """Attach to a ring and register.

        Args:
            name: full name of the ring.
            policy: `latest` skips to the newest; `drop_oldest` reads all it can; `lossless` also gates a writer
                that can wait, and is left behind (`demoted`) by one that cannot.
            reader: what this reader calls itself in the table.
            start: `newest` reads what comes from now, `oldest` all that is retained, or a sequence.
            waiter: how to sleep: a waiter, or a class such as `HybridWaiter`; on a futex if None.
            wait_for_s: how long to wait for the ring to be created.

        Raises:
            SegmentNotFoundError: there is no such ring.
            LayoutError: it is not one that this version reads.
            TableFullError: it has as many readers as it can have.
        """
        if policy not in table.POLICIES:
            raise SpecError(f"policy={policy!r}: expected one of {', '.join(table.POLICIES)}")
        ring = cls._open(name, Role.READER, wait_for_s)
        try:
            return cls(ring, policy, reader, start, waiter)
        except BaseException:
            ring.close()
            raise

    def read(self, timeout_s: float | None = None) -> Item | None:
        """Copy the next item by policy; None after `timeout_s`, or when the ring has ended and is drained.

        Args:
            timeout_s: None waits for as long as it takes, 0 not at all.
        """
        item = self._take()
        if item is not None:
            return item
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while self.lag or self._wait_item(deadline):
            item = self._take()
            if item is not None:
                return item
        return None

    def __iter__(self) -> Iterator[Item]:
        """Yield items by policy until the ring has ended and is drained; waits through a writer's death."""
        while (item := self.read()) is not None:
            yield item
