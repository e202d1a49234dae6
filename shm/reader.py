"""The reading end of a ring of arrays: registered, with a position.

I3  A reader loads `claimed` after its last use of the bytes, behind a fence, and drops what the writer has reached.
It lives in the native code, as do joining and moving; here are the choice of a start, waiting and iteration.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from . import _native, table
from .errors import LosslessRefusedError, SpecError
from .item import Item
from .look import ArrayLook, Look
from .ring import Ring, Role
from .table import Policy
from .waiter import LOOK_AROUND_S, SLICE_S, FutexWaiter, Waiter, WaiterFactory

Start = Literal["newest", "oldest"] | int
Taken = TypeVar("Taken")


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    """What one reader has seen; taken + skipped + lapped + torn is how far it came from where it asked to begin."""

    position: int
    lag: int
    taken: int
    skipped: int
    lapped: int
    torn: int
    demoted: bool


class ReaderEnd(Look):
    """What readers of arrays and of blobs share: registering, position, waiting. Serves one thread."""

    def __init__(
        self, ring: Ring, policy: Policy, reader: str, start: Start, waiter: Waiter | WaiterFactory | None
    ) -> None:
        if policy == "lossless" and not ring.spec.may_gate(reader):
            named = ", ".join(ring.spec.lossless or ()) or "nobody"
            raise LosslessRefusedError(f"{ring.name}: reader={reader!r} may not be lossless here, only {named}")
        super().__init__(ring)
        self._policy = policy
        self._entry = table.Entry.take(ring)
        try:
            self._entry.describe(reader, policy)
            self._enter(policy, start)
        except BaseException:
            self._entry.release()
            raise
        self._waiter = made = FutexWaiter(self) if waiter is None else _waiter_of(waiter, self)
        self._is_native = type(made).wait is FutexWaiter.wait
        if isinstance(made, FutexWaiter):
            self._spin_ns = int(made.spin_s * 1e9)

    def _enter(self, policy: Policy, start: Start) -> None:
        if start not in ("newest", "oldest"):
            if not isinstance(start, int) or isinstance(start, bool):
                raise SpecError(f"start={start!r}: expected 'newest', 'oldest' or a sequence")
            if start < 0:
                raise SpecError(f"start={start}: sequences begin at 0")
        self._join(self._entry.index, table.POLICIES.index(policy), start)

    @property
    def policy(self) -> Policy:
        """latest, drop_oldest or lossless."""
        return self._policy

    @property
    def waiter(self) -> Waiter:
        """What this reader sleeps with."""
        return self._waiter

    def seek(self, sequence: int) -> None:
        """Go on at `sequence`; what lies between is counted nowhere.

        Going back to what is gone leads to the oldest item that is retained; what is missing is counted as lapped.
        """
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
        deadline = time.monotonic() + timeout_s
        left = timeout_s
        while left > 0:
            if self._is_native:
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

    def _next(self, take: Callable[[float], Taken | None], timeout_s: float | None) -> Taken | None:
        """Take what comes next by policy; None after `timeout_s`, or when the ring has ended and is drained."""
        taken = take(0.0)
        if taken is not None:
            return taken
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_over and (left := deadline - time.monotonic()) > 0:
            if self._is_native:
                taken = take(min(left, LOOK_AROUND_S))
            else:
                self.wait(min(left, 1.0))
                taken = take(0.0)
            if taken is not None:
                return taken
        return take(0.0)  # published between our looks


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
            start: `newest` reads what comes from now, `oldest` all that is retained, or a sequence; what is gone of
                that is counted as lapped.
            waiter: how to sleep: a waiter, or a class such as `HybridWaiter`; on a futex if None.
            wait_for_s: how long to wait for the ring to be created.

        Raises:
            SegmentNotFoundError: there is no such ring.
            LayoutError: it is not one that this version reads.
            TableFullError: it has as many readers as it can have.
            LosslessRefusedError: its creator named those who may be lossless, and not this reader.
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
        return self._next(self._take, timeout_s)

    def __iter__(self) -> Iterator[Item]:
        """Yield items by policy until the ring has ended and is drained; waits through a writer's death."""
        while (item := self.read()) is not None:
            yield item
