"""Where a run begins that reaches back: at the first item that a ring retains and that is not older than a time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shm import OverrunError

from .ring_look import held

if TYPE_CHECKING:
    from shm import RingObserver, RingReader

Older = Literal["held", "overwritten", "none"]
"""What is with the item before the first: still held, overwritten (or about to be), or there never was one."""

_GONE: Final = -(2**63)
"""Time of an item that was overwritten: older than all."""


@dataclass(frozen=True, slots=True)
class Since:
    """Origin of a run: the first item that is not older than a time."""

    time_ns: int
    """On the ring's own clock."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a run begins."""

    sequence: int
    time_ns: int | None
    """Of that item; None: it has yet to come."""
    held_ns: int = 0
    """How far the ring reaches back."""
    older: Older = "held"


def beginning_in(ring: RingReader | RingObserver, since_ns: int) -> Beginning:
    """Return where a run begins that is to have everything since a time.

    That is an eighth of the ring away from what the writer overwrites next, or it would be gone before it has left.
    """
    sequences = held(ring)
    return beginning_at(ring, sequences.start + bisect_left(sequences, since_ns, key=lambda at: _time(ring, at)))


def beginning_at(ring: RingReader | RingObserver, first: int) -> Beginning:
    """Return the beginning of a run whose first sequence is known."""
    sequences = held(ring)
    if first not in sequences:
        return Beginning(first, None)
    older: Older = "held" if first > sequences.start else "none" if first == ring.first else "overwritten"
    return Beginning(first, _time(ring, first), _time(ring, sequences[-1]) - _time(ring, sequences.start), older)


def _time(ring: RingReader | RingObserver, sequence: int) -> int:
    try:
        with ring.view(1, at=sequence) as item:
            return int(item.times[0])
    except OverrunError:
        return _GONE
