"""When a segment file ends although its chunks could go on: it is as large, or as long, as the rig file allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .segment_lane import Segment

MB: Final = 1e6
S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Rotation:
    """How large a segment may get; what the last block before that has begun, it ends.

    Time is that of the items, so that a segment holds as much of a stream whether it came live or late.
    """

    segment_mb: float = 0.0
    """Megabytes (10⁶) of items as they are stored; 0: any."""
    segment_s: float = 0.0
    """Seconds from the first item of a segment to that of its last block; 0: any."""

    def is_due(self, segment: Segment, time_ns: int, size: int) -> bool:
        """Whether what comes next, `size` bytes from `time_ns` on, belongs into another segment.

        A block that is larger than a segment may be has one of its own.
        """
        too_large = 0 < self.segment_mb * MB < segment.bytes + size
        too_long = 0 < self.segment_s * S <= time_ns - segment.began_ns
        return segment.items > 0 and (too_large or too_long)


ENDLESS: Final = Rotation()
"""A segment ends where its chunks cannot go on, and nowhere else."""
