"""What the standard library offers: slots in SharedMemory, their numbers through a Pipe, a Semaphore for room."""

from __future__ import annotations

import multiprocessing
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING

import numpy as np

from tools.bench.transport import PATIENCE_S

if TYPE_CHECKING:
    from tools.bench.feed import Feed
    from tools.bench.sink import Sink
    from tools.bench.transport import Job


class Stdlib:
    """A pipe and a semaphore for each reader."""

    block = 0

    def __init__(self, job: Job) -> None:
        self._job = job
        context = multiprocessing.get_context("fork")
        self._memory = SharedMemory(create=True, size=job.payload.slots * job.payload.bytes)
        self._pipes = [context.Pipe(duplex=False) for _ in range(job.readers)]
        self._rooms = [context.BoundedSemaphore(job.payload.slots) for _ in range(job.readers)]

    def write(self, feed: Feed) -> None:
        """Copy each item into a slot that all readers have left, and tell them its number."""
        payload, copyto = self._job.payload, np.copyto
        targets = np.ndarray((payload.slots, *payload.shape), payload.dtype, self._memory.buf)
        slots = [(target, bytes([number])) for number, target in enumerate(targets)]
        acquires = [room.acquire for room in self._rooms]
        sends = [end.send_bytes for _, end in self._pipes]
        feed.start()
        for i, item in enumerate(feed):
            target, number = slots[i % len(slots)]
            for acquire in acquires:
                if not acquire(timeout=PATIENCE_S):
                    raise TimeoutError("no reader made room")
            copyto(target, item)
            for send in sends:
                send(number)

    def read(self, sink: Sink) -> None:
        """Look at each item where it is."""
        payload = self._job.payload
        words = np.ndarray((payload.slots, payload.bytes // 8), "<u8", self._memory.buf)
        slots = [slot.data for slot in words]
        take, receive, release = sink.take, self._pipes[sink.index][0].recv_bytes, self._rooms[sink.index].release
        sink.start()
        is_last = False
        while not is_last:
            is_last = take(slots[receive()[0]])
            release()

    def close(self) -> None:
        """Remove the memory."""
        for pair in self._pipes:
            for end in pair:
                end.close()
        self._memory.close()
        self._memory.unlink()
