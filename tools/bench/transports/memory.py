"""np.copyto into a ring's memory and nothing else: the most that copying each item once can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shm import RingWriter

if TYPE_CHECKING:
    from tools.bench.feed import Feed
    from tools.bench.sink import Sink
    from tools.bench.transport import Job


class Memory:
    """Copies, and that is all."""

    block = 0

    def __init__(self, job: Job) -> None:
        self._job = job

    def write(self, feed: Feed) -> None:
        """Copy every item into the slots in turn."""
        payload, copyto = self._job.payload, np.copyto
        with RingWriter.create(self._job.name, shape=payload.shape, dtype=payload.dtype, slots=payload.slots) as ring:
            claim = ring.claim(ring.slots)
            with claim as memory:
                targets, slots = list(memory), ring.slots
                feed.start()
                for i, item in enumerate(feed):
                    copyto(targets[i % slots], item)
                claim.publish(0)

    def read(self, sink: Sink) -> None:
        """Nobody reads."""

    def close(self) -> None:
        """Nothing is left."""
