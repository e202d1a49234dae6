"""The sensor loop: items from one source into one ring.

It waits for the time of an item *outside* the claim, since a claim held open costs every reader its slots, claims,
lets the source fill, publishes with times, and counts on its own what it published.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol

from stations.errors import SourceFailedError

from .pace import Clock, MonotonicClock, TimeLine, Times, offset_ns
from .source import Array, Reading, Source, SourceSpec, TimedSource, Upcoming

Outcome = Literal["ended", "halted"]

IMAGE_BYTES: Final = 64 * 1024
"""Items of this size are claimed one at a time."""
BLOCK_S: Final = 0.01
"""Samples are claimed for so long: 100 claims a second cost little, and 10 ms is less than anybody sees."""
FREE_BLOCK_BYTES: Final = 64 * 1024
"""Bytes claimed at once from a source that gives as fast as it is asked."""

log = logging.getLogger(__name__)


class Claim(AbstractContextManager[Array], Protocol):
    """Slots being filled; what leaving does is the ring's affair once `publish` was called."""

    def publish(self, count: int, /, time_ns: int | None = None, period_ns: int = 0) -> object:
        """Publish the first items; 0 gives all back."""
        ...


class Writer(Protocol):
    """What the loop needs of a ring."""

    @property
    def slots(self) -> int:
        """Items that the ring holds."""
        ...

    def claim(self, n: int, /) -> Claim:
        """Take the next slots."""
        ...


def block_for(spec: SourceSpec, slots: int) -> int:
    """Return how many items to claim at once: one image, or 10 ms of samples, never more than a quarter of the ring."""
    if spec.item_bytes >= IMAGE_BYTES or not spec.regular or spec.rate is None:
        return 1
    is_free = spec.can_wait and not spec.paced
    wanted = FREE_BLOCK_BYTES // spec.item_bytes if is_free else int(spec.rate * BLOCK_S)
    return max(1, min(wanted, slots // 4))


class SensorLoop:
    """Moves items from an open source into a ring until halted or until the source ends.

    One thread calls it.  Times are scheduled for regular sources that the loop paces or that can wait (a file's own
    time line), taken from the source where it knows them, before or after reading, and measured on arrival otherwise.
    """

    def __init__(
        self,
        source: Source,
        writer: Writer,
        *,
        clock: Clock | None = None,
        on_count: Callable[[int], object] | None = None,
        between: Callable[[], object] | None = None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            source: open.
            writer: the ring, of the source's shape and dtype.
            clock: CLOCK_MONOTONIC if None.
            on_count: told the items published by this loop so far, after each publication.
            between: called between two readings.
        """
        self._source = source
        self._spec = source.spec
        self._writer = writer
        self._clock: Clock = clock or MonotonicClock()
        self._on_count = on_count
        self._between = between
        self._block = block_for(self._spec, writer.slots)
        start_ns = self._clock.now_ns()
        self._times = Times(self._spec, start_ns)
        self._line = TimeLine(start_ns)
        self._timed = source if isinstance(source, TimedSource) else None
        is_regular = self._spec.regular and self._spec.rate is not None
        self._is_scheduled = self._timed is not None or (is_regular and (self._spec.paced or self._spec.can_wait))
        self.counted = 0
        """Items that this loop published, counted here and not read from the ring."""

    def run(self, halt: threading.Event) -> Outcome:
        """Acquire until halted or ended.

        Raises:
            SourceError: what the source reads is wrong.
            SourceFailedError: the source breaks its promises.
            ShmError: the ring cannot be written.
        """
        while not halt.is_set():
            coming = self._coming()
            if not self._await_due(coming, halt):
                return "halted"
            if self._between is not None:
                self._between()
            if self._step(coming) == "ended":
                return "ended"
        return "halted"

    @property
    def slips(self) -> int:
        """How often the schedule was more than a second late and began anew."""
        return self._line.slips

    @property
    def repaired(self) -> int:
        """Times that had to be moved to come after those before them."""
        return self._times.repaired

    def __repr__(self) -> str:
        return f"<SensorLoop counted={self.counted} slips={self.slips} repaired={self.repaired}>"

    def _coming(self) -> Upcoming:
        """Return what is to be read next, and when it is due."""
        if self._timed is not None:
            return self._timed.upcoming(self._block)
        begin_ns = offset_ns(self.counted, self._spec.rate) if self._spec.rate is not None else 0
        return Upcoming(self._block, begin_ns, self._spec.period_ns, at_once=not self._spec.paced)

    def _await_due(self, coming: Upcoming, halt: threading.Event) -> bool:
        """Wait until the last item of the next block is due: a sample's time is never in the future."""
        if coming.at_once or not coming.count:
            return True
        last_ns = coming.time_ns + (coming.count - 1) * coming.period_ns
        if not self._clock.wait(halt, self._line.at(last_ns)):
            return False
        self._line.slip_to(last_ns, self._clock.now_ns())
        return True

    def _step(self, coming: Upcoming) -> Literal["ended", "going"]:
        """Claim, fill, publish one block."""
        if not coming.count:
            return "ended"
        claim = self._writer.claim(coming.count)
        with claim as slots:
            before_ns = self._clock.now_ns()
            reading = self._source.read_into(slots)
            if reading is None:  # nothing yet
                claim.publish(0)
                return "going"
            count = reading.count if isinstance(reading, Reading) else int(reading)
            if not 0 <= count <= len(slots):
                raise SourceFailedError(
                    f"{type(self._source).__name__}.read_into returned {count} for room of {len(slots)}; "
                    "return how many items were filled"
                )
            if count == 0:
                claim.publish(0)
                return "ended"
            time_ns, period_ns = self._times_of(reading, count, coming, before_ns)
            claim.publish(count, time_ns=time_ns, period_ns=period_ns)
        self.counted += count
        if self._on_count is not None:
            self._on_count(self.counted)
        return "going"

    def _times_of(self, reading: int | Reading, count: int, coming: Upcoming, before_ns: int) -> tuple[int, int]:
        if isinstance(reading, Reading):
            return self._times.stated(count, reading.time_ns, reading.period_ns)
        if self._is_scheduled:
            return self._times.stated(count, self._line.at(coming.time_ns), coming.period_ns)
        # A reading that the loop asked for was taken when it asked; a device that blocks gave it when it returned.
        return self._times.arrived(count, before_ns if self._spec.paced else self._clock.now_ns())
