"""When items are due, and what times they get.

Rules of this file: times of one stream strictly increase; a scheduled time is ``start + i / rate``, computed anew for
each block, so that rounding does not add up; nobody is late for ever.
"""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

from .source import SourceSpec

SLIP_NS: Final = 1_000_000_000
"""A schedule this late (a stopped process, a reader that was waited for) goes on from now instead of catching up."""
_SLICE_S: Final = 0.1


class Clock(Protocol):
    """Time, as the sensor loop needs it; tests bring their own."""

    def now_ns(self) -> int:
        """Return CLOCK_MONOTONIC, or what plays its part."""
        ...

    def wait(self, halt: threading.Event, until_ns: int) -> bool:
        """Wait until then or until halted; False when halted."""
        ...


class MonotonicClock:
    """CLOCK_MONOTONIC."""

    def now_ns(self) -> int:
        """Return nanoseconds since some fixed moment."""
        return time.monotonic_ns()

    def wait(self, halt: threading.Event, until_ns: int) -> bool:
        """Wait on the event, so that a STOP is never later than the event itself."""
        while not halt.is_set():
            left_ns = until_ns - time.monotonic_ns()
            if left_ns <= 0:
                return True
            halt.wait(min(left_ns / 1e9, _SLICE_S))
        return False


class TimeLine:
    """Times counted from a start, which moves when nobody could keep up with it."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self.slips = 0
        """How often it was so late that it began anew."""

    def at(self, offset_ns: int) -> int:
        """Return the time so long after the start."""
        return self._start_ns + offset_ns

    def slip_to(self, offset_ns: int, now_ns: int) -> None:
        """Let what is due then be due now if it is more than `SLIP_NS` late."""
        late_ns = now_ns - self.at(offset_ns)
        if late_ns > SLIP_NS:
            self._start_ns += late_ns
            self.slips += 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} slips={self.slips}>"


def offset_ns(index: int, rate: float) -> int:
    """Return how long after the first an evenly spaced item is."""
    return int(index * 1_000_000_000 / rate)


class Times:
    """Gives times to items that were read when they came, each later than the one before."""

    def __init__(self, spec: SourceSpec, start_ns: int) -> None:
        self._period_ns = spec.period_ns or 1_000_000_000
        self.last_ns = start_ns - 1
        self.repaired = 0
        """Times from a source that did not come after those before them, and were moved."""

    def arrived(self, count: int, now_ns: int) -> tuple[int, int]:
        """Return (time of the first, period) of items of which the last came now."""
        end_ns = max(now_ns, self.last_ns + count)
        step_ns = min(self._period_ns, (end_ns - self.last_ns) // count)
        return self._take(end_ns - (count - 1) * step_ns, count, step_ns)

    def stated(self, count: int, first_ns: int, period_ns: int) -> tuple[int, int]:
        """Return (time of the first, period) of items whose source or schedule knows when they were."""
        if first_ns <= self.last_ns or (count > 1 and period_ns < 1):
            self.repaired += 1
            first_ns, period_ns = max(first_ns, self.last_ns + 1), max(period_ns, 1)
        return self._take(first_ns, count, period_ns)

    def _take(self, first_ns: int, count: int, period_ns: int) -> tuple[int, int]:
        self.last_ns = first_ns + (count - 1) * period_ns
        return first_ns, period_ns
