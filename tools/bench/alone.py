"""What one process can measure by itself: items in place, and a ring's first lap."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from shm import RingReader, RingWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .payloads import Payload

LAPS = 4


def fill_us(payload: Payload, seconds: float) -> float:
    """Microseconds of ours for one item filled in place: `with ring.claim(): pass`."""

    def fill(turns: int) -> None:
        for _ in range(turns):
            with ring.claim():
                pass

    with _ring(payload, payload.slots) as ring:
        return _turn_us(fill, seconds)


def look_us(payload: Payload, seconds: float) -> float:
    """Microseconds of ours for one item looked at in place; the time that writing it takes is taken off."""

    def fill(turns: int) -> None:
        for _ in range(turns):
            with ring.claim():
                pass

    def fill_and_look(turns: int) -> None:
        for _ in range(turns):
            with ring.claim():
                pass
            with reader.view(1):
                pass

    with _ring(payload, payload.slots) as ring, RingReader.attach(ring.name, policy="lossless") as reader:
        both = _turn_us(fill_and_look, seconds / 2)
        reader.close()
        return both - _turn_us(fill, seconds / 2)


def lap_rates(payload: Payload, pool: NDArray[Any]) -> tuple[float, float]:
    """Items a second of the first lap of a ring larger than the caches, and of the laps after it."""
    items = list(pool)
    with _ring(payload, payload.lap) as ring:
        slots, count, write = ring.slots, len(items), ring.write
        laps = []
        for _ in range(1 + LAPS):
            begin = time.perf_counter()
            for i in range(slots):
                write(items[i % count])
            laps.append(slots / (time.perf_counter() - begin))
    return laps[0], median(laps[1:])


@contextmanager
def _ring(payload: Payload, slots: int) -> Iterator[RingWriter]:
    name = f"bench-{os.getpid()}/alone"
    with RingWriter.create(name, shape=payload.shape, dtype=payload.dtype, slots=slots, can_wait=True) as ring:
        yield ring


def _turn_us(some: Callable[[int], None], seconds: float) -> float:
    """Microseconds a turn of `some(turns)`, called with more and more turns for so long."""
    done, batch, begin = 0, 1, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        some(batch)
        done += batch
        if time.perf_counter() - begin - spent < seconds / 20:
            batch *= 2
    return 1e6 * spent / done
