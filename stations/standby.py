"""A rig that stands by, and the order that makes it record: plain values, no I/O.

The order counts back from the moment at which the Terminal's agent took it.  A Pilot of the same machine is told that
moment on their common clock; one of another machine how long ago it was when START was sent, so that no clocks have to
agree: its beginning is as exact as a message is quick.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

import msgspec

from pipeline.beginning import Beginning
from shm import clock_domain

EXACT_S: Final = 0.05
"""Nearer than this to what was ordered is as ordered: sensors publish some milliseconds of items at a time."""
WAITED: Final = "its source could wait, and begins at its beginning"


class RecordOrder(msgspec.Struct, frozen=True):
    """What RECORD asks."""

    from_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Begin so many seconds before the order."""
    duration_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """End so many seconds after the order; None: as the rig was told when it was started."""
    by: Annotated[str, msgspec.Meta(max_length=200)] = ""


class OrderStamp(msgspec.Struct, frozen=True):
    """When an order was taken, on the clocks of the Terminal's machine."""

    wall_ns: int
    monotonic_ns: int
    clock: str
    """Domain of `monotonic_ns`."""

    @classmethod
    def now(cls) -> OrderStamp:
        """Read both clocks."""
        return cls(time.time_ns(), time.monotonic_ns(), clock_domain())


class Began(msgspec.Struct, frozen=True):
    """Where a stream of a recording that was ordered began."""

    before_s: float | None
    """Seconds before the order; negative: after it.  None: it begins with the next item."""
    why: str = ""
    """Why that is not what was ordered; empty if it is."""


class StartOrder(msgspec.Struct, frozen=True):
    """What START says of an order, to a Pilot."""

    from_s: float
    at_ns: int
    """When the order was ..."""
    clock: str
    """... on this clock."""
    ago_s: float = 0.0
    """How long ago the order was when this was sent."""

    def since_ns(self, now_ns: int, clock: str) -> int:
        """Return the time of the oldest items that are wanted.

        Args:
            now_ns: when this arrived, on the clock of the items.
            clock: its domain.
        """
        ordered_ns = self.at_ns if clock == self.clock else now_ns - round(self.ago_s * 1e9)
        return ordered_ns - round(self.from_s * 1e9)

    def began(self, found: Beginning | None, since_ns: int) -> Began:
        """Return where a stream began.

        Args:
            found: where in its ring; None: it has none.
            since_ns: what was asked of the ring.
        """
        if found is None or found.time_ns is None:
            why = "it has no ring yet" if found is None else "it acquired nothing of that time"
            return Began(None, why if self.from_s else "")
        late_s = (found.time_ns - since_ns) / 1e9
        before_s = round(self.from_s - late_s, 6)
        if found.older == "held" or late_s <= EXACT_S:
            return Began(before_s)
        if found.older == "none":
            return Began(before_s, "it acquired nothing earlier")
        return Began(before_s, f"its ring holds {found.held_ns / 1e9:.1f} s")
