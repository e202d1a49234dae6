"""The reading half of `pipeline bench ring`: a process of its own, told on stdin what to read.

One JSON line in, ``{"name", "how", "count", "pool"}``; "ready" out once attached; one JSON line out when `count`
items were read, ``{"end_ns", "wrong", "lapped"}``.  The end of stdin ends the process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shm import RingReader

from .payloads import count_wrong

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATIENCE_S: Final = 5.0
"""Longest wait for one item before the writer is taken for dead, seconds."""
DRAIN: Final = 64
"""Items of one batch."""


def read_items(reader: RingReader, count: int, pool: int) -> int:
    """Copy one item a call; return how many were wrong."""
    out: NDArray[Any] = np.empty((1, *reader.shape), reader.dtype)
    words = out.reshape(-1).view("<u8").data  # looked at without making a view per item
    wrong, first = 0, reader.position
    for sequence in range(first, first + count):
        while not reader.read_into(out):
            if not reader.wait(PATIENCE_S):
                raise TimeoutError(reader.name)
        wrong += not words[0] == words[-1] == sequence % pool
    return wrong


def read_views(reader: RingReader, count: int, pool: int) -> int:
    """Look at everything new as one view, without a copy; return how many were wrong."""
    wrong = seen = 0
    while seen < count:
        with reader.view() as run:
            if run.count:
                wrong += count_wrong(run.data, run.first, pool)
        seen += run.count
        if not run.count and not reader.wait(PATIENCE_S):
            raise TimeoutError(reader.name)
    return wrong


def read_batches(reader: RingReader, count: int, pool: int) -> int:
    """Copy everything new in batches; return how many were wrong."""
    out: NDArray[Any] = np.empty((DRAIN, *reader.shape), reader.dtype)
    wrong = seen = 0
    while seen < count:
        first = reader.position
        got = reader.read_into(out)
        if got:
            wrong += count_wrong(out[:got], first, pool)
        elif not reader.wait(PATIENCE_S):
            raise TimeoutError(reader.name)
        seen += got
    return wrong


HOW: Final[dict[str, Callable[[RingReader, int, int], int]]] = {
    "items": read_items,
    "views": read_views,
    "batches": read_batches,
}


def main() -> None:
    """Serve orders until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        with RingReader.attach(order["name"], policy="lossless", start="newest") as reader:
            print("ready", flush=True)
            wrong = HOW[order["how"]](reader, order["count"], order["pool"])
            print(json.dumps({"end_ns": time.monotonic_ns(), "wrong": wrong, "lapped": reader.lapped}), flush=True)


if __name__ == "__main__":
    main()
