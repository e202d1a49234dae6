"""What a viewer that has stopped costs the writer: pairs of runs, with and without it, in turns."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shm import RingReader, RingWriter

from .child import Child, Control
from .payloads import PAYLOADS, Payload, make_pool
from .promises import BESIDE_VIEWER
from .rows import Row, compared

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure_viewer(pairs: int, seconds: float, report: Callable[[str], None]) -> list[Row]:
    """Return a row for each payload: items a second beside a stopped viewer, and alone in the same pair."""
    rows = []
    for payload in PAYLOADS[:2]:
        pool = make_pool(payload)
        beside: list[float] = []
        alone: list[float] = []
        for pair in range(pairs):
            for watched in (pair % 2 == 0, pair % 2 == 1):  # neither is always the first
                (beside if watched else alone).append(_rate(payload, pool, seconds, watched=watched))
            report(f"{payload.name}: pair {pair + 1} of {pairs}")
        rows.append(compared(f"({payload.letter}) beside a stopped viewer", "items/s", beside, alone, BESIDE_VIEWER))
    return rows


def _rate(payload: Payload, pool: NDArray[Any], seconds: float, *, watched: bool) -> float:
    """Write for so long; return items a second."""
    name = f"bench-{os.getpid()}/viewer"
    with RingWriter.create(name, shape=payload.shape, dtype=payload.dtype, slots=payload.slots) as ring:
        ring.write_block(pool[: min(len(pool), ring.slots)])
        viewer = _stopped_viewer(name) if watched else None
        try:
            return _written(ring, list(pool), seconds)
        finally:
            if viewer is not None:
                viewer.kill()
                viewer.close()


def _stopped_viewer(name: str) -> Child:
    """Return a process that read an item and was stopped while it waited for the next."""

    def view(control: Control) -> None:
        with RingReader.attach(name, policy="latest", reader="viewer", start="oldest") as ring:
            ring.read(1.0)
            ring.arm()
            control.report(pid=os.getpid())
            control.wait()

    viewer = Child("viewer", view)
    os.kill(viewer.hear()["pid"], signal.SIGSTOP)
    return viewer


def _written(ring: RingWriter, items: list[NDArray[Any]], seconds: float) -> float:
    count, write = 0, ring.write
    begin = time.perf_counter()
    end = begin + seconds
    while time.perf_counter() < end:
        for item in items:
            write(item)
        count += len(items)
    return count / (time.perf_counter() - begin)
