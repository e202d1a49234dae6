"""Our ring, through the public API only; readers are lossless and the writer can wait."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline import Context, NoticeWaiter, Notifier
from shm import FutexWaiter, HybridWaiter, RingReader, RingWriter, WaiterFactory, clean, segment_name
from tools.bench.transport import PATIENCE_S

if TYPE_CHECKING:
    from tools.bench.feed import Feed
    from tools.bench.sink import Sink
    from tools.bench.transport import Job

COPY_BELOW: Final = 65536
"""Smaller items are copied out, one call each; larger ones are looked at where they are."""
BATCH: Final = 64


class FutexRing:
    """Items written and read one by one; readers sleep on the futex."""

    block = 0

    def __init__(self, job: Job) -> None:
        self._job = job
        self._notifier: Notifier | None = None

    def write(self, feed: Feed) -> None:
        """Write each item with one call, which copies it."""
        with self._create() as ring:
            feed.start()
            write = ring.write
            for item in feed:
                write(item)

    def read(self, sink: Sink) -> None:
        """Copy or look at each item with one call."""
        with self._attach(sink, self._waiter()) as ring:
            sink.start()
            read_copies(ring, sink) if self._job.payload.bytes < COPY_BELOW else read_views(ring, sink)

    def close(self) -> None:
        """Remove a ring whose writer was killed."""
        clean(rig=self._job.name.partition("/")[0])

    def _waiter(self) -> WaiterFactory:
        return FutexWaiter

    def _create(self) -> RingWriter:
        job = self._job
        return RingWriter.create(
            job.name,
            shape=job.payload.shape,
            dtype=job.payload.dtype,
            slots=job.payload.slots,
            can_wait=True,
            timeout_s=PATIENCE_S,
            notifier=self._notifier,
        )

    def _attach(self, sink: Sink, waiter: WaiterFactory) -> RingReader:
        return RingReader.attach(self._job.name, policy="lossless", reader=f"reader{sink.index}", waiter=waiter)


class HybridRing(FutexRing):
    """Readers spin for 100 us before they sleep."""

    def _waiter(self) -> WaiterFactory:
        return partial(HybridWaiter, spin_s=100e-6)


class NoticeRing(FutexRing):
    """Readers sleep until a notice over zmq."""

    def write(self, feed: Feed) -> None:
        """Write each item; a notice goes to readers that sleep."""
        with Context() as context:
            self._notifier = Notifier(context, segment_name("r", self._job.name))
            super().write(feed)
            self._notifier.close()

    def read(self, sink: Sink) -> None:
        """Read as the others do."""
        with Context() as context:
            waiter = NoticeWaiter.on(context)
            with self._attach(sink, waiter) as ring:
                sink.start()
                read_copies(ring, sink)


class BlockRing(FutexRing):
    """Blocks of items written with one call, and everything new drained with one call."""

    block = BATCH

    def write(self, feed: Feed) -> None:
        """Write a block a call."""
        with self._create() as ring:
            feed.start()
            write = ring.write_block
            for block in feed:
                write(block)

    def read(self, sink: Sink) -> None:
        """Copy all that is new, a call each time."""
        with self._attach(sink, self._waiter()) as ring:
            sink.start()
            out = np.empty((BATCH, *ring.shape), ring.dtype)
            while True:
                count = ring.read_into(out)
                if count and sink.take_run(out[:count]):
                    return
                if not count:
                    wait(ring)


def read_copies(ring: RingReader, sink: Sink) -> None:
    """Copy one item a call."""
    out = np.empty((1, *ring.shape), ring.dtype)
    words, take, read_into = out.reshape(-1).view("<u8").data, sink.take, ring.read_into
    while True:
        if not read_into(out):
            wait(ring)
        elif take(words):
            return


def read_views(ring: RingReader, sink: Sink) -> None:
    """Look at one item at a time where it is."""
    known: dict[int, memoryview] = {}
    take, slots, is_last = sink.take, ring.slots, False
    while not is_last:
        with ring.view(1) as run:
            if run.count:
                slot = run.first % slots
                if slot not in known:
                    known[slot] = run.data[0].reshape(-1).view("<u8").data
                is_last = take(known[slot])
        if not run.count:
            wait(ring)
        elif not run.good:
            sink.spoil(run.count)


def wait(ring: RingReader) -> None:
    """Sleep until there is something to read.

    Raises:
        TimeoutError: nothing came.
    """
    if not ring.wait(PATIENCE_S):
        raise TimeoutError(f"{ring!r}: nothing came for {PATIENCE_S} s")
