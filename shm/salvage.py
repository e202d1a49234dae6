"""What a dead writer's ring still holds: read without registering, after everybody is gone.

A segment outlives its processes, so the last seconds before a crash are there until somebody takes the ring over or
removes it.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clock import ClockPair
from .errors import OverrunError, WriterAliveError
from .look import Look
from .ring import Ring, Role
from .segment import array_of


@dataclass(frozen=True, slots=True)
class Salvage:
    """The items of a dead writer's ring, copied.

    Attributes:
        name: of the ring.
        birth: of its generation.
        epoch: writers that it had.
        shape: of an item; of a blob ring (max_bytes,).
        dtype: of an item.
        meta: what its creator said.
        clock: domain of the times, and one instant on both clocks.
        first: sequence of the first item here.
        items: (count, *shape), the ring's dtype; of a blob ring a list of bytes.
        times: int64 (count,), the writer's CLOCK_MONOTONIC ns.
        overwritten: sequences still in place that the writer may have been overwriting when it died: not in `items`.
        unfinished: sequences that it had claimed and not published: never in `items`.
        ended: it had said that no item follows, so nothing is missing at the end.
    """

    name: str
    birth: int
    epoch: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    meta: MappingABC[str, Any]
    clock: ClockPair
    first: int
    items: NDArray[Any] | list[bytes]
    times: NDArray[np.int64]
    overwritten: range
    unfinished: range
    ended: bool

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.times)

    def __repr__(self) -> str:
        return (
            f"<Salvage {self.name} {self.first}..{self.first + len(self)} overwritten={len(self.overwritten)} "
            f"unfinished={len(self.unfinished)}>"
        )


def salvage(name: str, last: int | None = None) -> Salvage:
    """Copy what the ring of a dead writer still holds.

    Opens the segment read-only and changes nothing: the next writer can still take the ring over.

    Args:
        name: full name of the ring.
        last: at most so many of its newest items; all if None, which takes as much memory as the ring.

    Raises:
        SegmentNotFoundError: there is no such ring.
        SegmentAccessError: its mode does not let you read it.
        LayoutError: it is not one that this version reads.
        WriterAliveError: its writer lives, or came back meanwhile; attach a reader.
    """
    ring = Ring.attach(name, Role.OBSERVER)
    try:
        look = Look(ring)
    except BaseException:
        ring.close()
        raise
    with look:
        _check_dead(look)
        found = _salvaged(look, ring, last)
        _check_dead(look)  # a successor begins by taking the lock, then claims: so far nothing was changed
    return found


def _check_dead(look: Look) -> None:
    if look.writer_alive:
        raise WriterAliveError(f"{look.name}: its writer lives (pid {look.writer_pid}); attach a reader instead")


def _salvaged(look: Look, ring: Ring, last: int | None) -> Salvage:
    published, claimed, oldest = look.published, look.claimed, look.oldest
    first = oldest if last is None else max(oldest, published - last)
    count = published - first
    items, times = _copies(ring, first, count)
    if look._bad(first, count):  # noqa: SLF001 - a native method of ours
        raise OverrunError(f"{look.name}: another writer came while it was read", first=first, lost=count)
    return Salvage(
        name=look.name,
        birth=look.birth,
        epoch=look.epoch,
        shape=look.shape,
        dtype=look.dtype,
        meta=dict(look.meta),
        clock=look.clock,
        first=first,
        items=items,
        times=times,
        overwritten=range(max(look.first, published - look.slots), oldest),
        unfinished=range(published, max(claimed, published)),
        ended=look.ended,
    )


def _copies(ring: Ring, first: int, count: int) -> tuple[NDArray[Any] | list[bytes], NDArray[np.int64]]:
    g = ring.spec.geometry
    start, moment = first % g.slots, first % g.times_slots
    data, lap_times = ring.arrays()
    times = np.array(lap_times[moment : moment + count], np.int64)
    if ring.lengths is None:
        return np.array(data[start : start + count]), times
    lengths = array_of(ring.lengths, np.dtype("<u8"), 2 * g.times_slots)[moment : moment + count].tolist()
    blobs = (row[: min(length, g.item_bytes)] for row, length in zip(data[start:], lengths, strict=False))
    return [blob.tobytes() for blob in blobs], times
