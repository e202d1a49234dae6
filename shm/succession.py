"""Who owns a name: whoever creates the segment, or, when its owner has died, who takes the lock of what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .errors import SegmentNotFoundError
from .segment import Segment

Owned = TypeVar("Owned")


def create_or_inherit(
    segment_id: str,
    name: str,
    own: Callable[[Segment, str], None],
    fill: Callable[[Segment], Owned],
    inherit: Callable[[Segment], Owned | None],
) -> Owned:
    """Return what `fill` makes of a new segment, or `inherit` of one that a dead owner left.

    Args:
        segment_id: name of the segment.
        name: full name, for messages.
        own: takes the owner's lock or raises; called first, so that nobody else fills or inherits at the same time.
        fill: makes a new segment what it is to be; if it raises, nothing is left behind.
        inherit: takes a segment over, or frees its name and returns None: then it is tried again from the start.
    """
    while True:
        segment, is_new = _open(segment_id, name)
        if segment is None:
            continue  # it was there, and has gone
        try:
            own(segment, name)
            made = fill(segment) if is_new else inherit(segment)
        except BaseException:
            if is_new:
                segment.unlink_if_ours()
            segment.close()
            raise
        if made is not None:
            return made
        segment.close()


def _open(segment_id: str, name: str) -> tuple[Segment | None, bool]:
    try:
        return Segment.create(segment_id), True
    except FileExistsError:
        try:
            return Segment.open(segment_id, name, read_only=False), False
        except SegmentNotFoundError:
            return None, False
