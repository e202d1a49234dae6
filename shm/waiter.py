"""How a reader waits for news.

The protocol has four steps, so that no wake-up is lost: the waiter makes itself ready (`arm`); the reader marks the
ring as armed and, behind a sequentially consistent fence, looks at `published` again; only if there is nothing new it
sleeps (`wait`); the writer publishes and, behind the mirror-image fence, looks whether somebody armed. One of the two
sees the other. A wake-up that is lost on its way (a socket may lose it) costs one slice of `SLICE_S`.

`FutexWaiter` sleeps in the kernel, `SpinWaiter` burns a core for the shortest latency, `HybridWaiter` spins a little
and then sleeps: at high rates it spares the writer the cost of waking, about 30 us on a busy core. Other packages
bring waiters of their own, over sockets for instance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .reader import ReaderEnd

SLICE_S: Final = 0.02
"""Longest sleep of a waiter whose wake-ups may be lost."""
LOOK_AROUND_S: Final = 0.25
"""Longest sleep on the futex: a signal or a vanished ring is noticed by then."""


@runtime_checkable
class Waiter(Protocol):
    """Something that sleeps until a writer calls its notifier."""

    def arm(self) -> None:
        """Forget old news; from here a notice must end the next `wait`."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a notice or the timeout; True if there was a notice."""

    def fileno(self) -> int | None:
        """Return what a poller can wait for instead, or None."""

    def disarm(self) -> None:
        """Stop waiting: the reader has found something to read."""


WaiterFactory = Callable[["ReaderEnd"], Waiter]


class FutexWaiter:
    """Sleeps on a word of the ring itself; the writer wakes it within microseconds."""

    spin_s: float = 0.0

    def __init__(self, reader: ReaderEnd) -> None:
        self._reader = reader

    def arm(self) -> None:
        """Do nothing: `wait` arms and looks again in one native call."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something is published, the ring ends, or the timeout."""
        return self._reader.sleep(int(min(timeout_s, LOOK_AROUND_S) * 1e9), int(self.spin_s * 1e9))

    def fileno(self) -> int | None:
        """Return None: a futex cannot be polled."""
        return None

    def disarm(self) -> None:
        """Do nothing: an armed word left behind costs one wake-up at most."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} spin={self.spin_s * 1e6:.0f}us>"


class SpinWaiter(FutexWaiter):
    """Never sleeps: the shortest latency, for a core of its own."""

    spin_s = 3600.0


class HybridWaiter(FutexWaiter):
    """Spins for `spin_s`, then sleeps."""

    def __init__(self, reader: ReaderEnd, spin_s: float = 50e-6) -> None:
        super().__init__(reader)
        self.spin_s = spin_s
