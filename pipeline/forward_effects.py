"""What the forwarder's machine is told of a ring, and what it wants done: plain values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .block import BlockFlag


class ForwardState(enum.Enum):
    """Where a stream stands."""

    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class RingState:
    """What the machine needs to know of a ring: sequences whose items are whole, and which of them are left."""

    published: int
    oldest: int
    epoch: int = 0
    takeover: int | None = None
    """Sequence at which the writer of `epoch` began, as far as known."""
    is_final: bool = False
    """No item will follow: the ring has ended, or another one took its place."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Effect: read items [first, first + count) and send them as one block; ``count == 0`` reads nothing."""

    first: int
    count: int
    flags: BlockFlag
    lost: int
    lost_reason: str
    origin: int
    epoch: int
    scale: int = 1
    """Of images, how much smaller (`reduction`)."""


@dataclass(frozen=True, slots=True)
class Spill:
    """Effect: put items [first, first + count) into the spool as one block, then say `spilled`."""

    cut: Cut
