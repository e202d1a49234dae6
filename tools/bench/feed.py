"""What the writing process sends: warm-up, a mark that the clock starts, items, a mark that it is over.

Every item carries its number at both ends and, behind the first, the time at which it was handed out; that is part of
what each transport costs, the same for all. Marks are items like all others, so they arrive after what was sent
before them, however they travel.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .child import Control
    from .transport import Job

BEGIN: Final = 2**64 - 2
"""Number of the item before the first that counts."""
END: Final = 2**64 - 1
"""Number of the item after the last that counts; its second word is how many there were."""
LEAST: Final = 8
"""Items that are sent however short the time is."""
_FOREVER: Final = 2**63


class Feed:
    """Hands out items, at full speed or at the payload's rate.

    Args:
        control: line to the process that measures.
        job: what is moved.
        pool: distinct items, shape (n, *shape), handed out in turn.
        seconds: how long.
        block: 0 hands out items; k > 0 hands out arrays of k items, and the marks as arrays of one.
    """

    def __init__(self, control: Control, job: Job, pool: NDArray[Any], seconds: float, block: int = 0) -> None:
        self._control, self._job, self._pool, self._seconds, self._block = control, job, pool, seconds, block
        self._sent = 0

    def start(self) -> None:
        """Say that readers may come; return when all are there."""
        self._control.ready()

    async def start_async(self) -> None:
        """Do as `start`, while the event loop goes on."""
        await self._control.ready_async()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield all there is to send; ends when all readers are done."""
        yield from self._warm_up()
        yield self._mark(BEGIN)
        begin_ns, busy_ns = time.monotonic_ns(), time.process_time_ns()
        if self._job.use == "paced":
            items = self._items(_FOREVER)
            for due_ns in self._dues(begin_ns):
                time.sleep(max(0, due_ns - time.monotonic_ns()) * 1e-9)
                yield next(items)
        else:
            yield from self._items(begin_ns + int(self._seconds * 1e9))
        self._report(begin_ns, busy_ns)
        yield self._mark(END)
        self._control.wait()

    async def __aiter__(self) -> AsyncIterator[NDArray[Any]]:
        """Yield the same, asleep in the event loop's own way."""
        for item in self._warm_up():
            yield item
        yield self._mark(BEGIN)
        begin_ns, busy_ns = time.monotonic_ns(), time.process_time_ns()
        if self._job.use == "paced":
            items = self._items(_FOREVER)
            for due_ns in self._dues(begin_ns):
                await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) * 1e-9)
                yield next(items)
        else:
            for item in self._items(begin_ns + int(self._seconds * 1e9)):
                yield item
        self._report(begin_ns, busy_ns)
        yield self._mark(END)
        await self._control.wait_async()

    def _warm_up(self) -> Iterator[NDArray[Any]]:
        """Fill every place on the way once, and then some."""
        yield from itertools.islice(self._items(_FOREVER), self._job.payload.warm // max(1, self._block))
        self._sent = 0

    def _dues(self, begin_ns: int) -> Iterator[int]:
        period_ns = int(1e9 / self._job.payload.rate)
        count = max(1, int(self._seconds * 1e9 / period_ns))
        return (begin_ns + i * period_ns for i in range(1, count + 1))

    def _items(self, end_ns: int) -> Iterator[NDArray[Any]]:
        return self._blocks(end_ns) if self._block else self._singles(end_ns)

    def _singles(self, end_ns: int) -> Iterator[NDArray[Any]]:
        sources = [(item, item.reshape(-1).view("<u8").data) for item in self._pool]
        clock, self._sent = time.monotonic_ns, 0
        for item, words in itertools.cycle(sources):
            now = clock()
            if now >= end_ns and self._sent >= LEAST:
                return
            words[0] = words[-1] = self._sent
            words[1] = now
            self._sent += 1
            yield item

    def _blocks(self, end_ns: int) -> Iterator[NDArray[Any]]:
        size, self._sent = self._block, 0
        blocks = [self._pool[i : i + size] for i in range(0, len(self._pool), size)]
        sources = [(block, block.reshape(size, -1).view("<u8")) for block in blocks]
        for block, words in itertools.cycle(sources):
            now = time.monotonic_ns()
            if now >= end_ns and self._sent >= LEAST:
                return
            words[:, 0] = words[:, -1] = np.arange(self._sent, self._sent + size, dtype="<u8")
            words[:, 1] = now
            self._sent += size
            yield block

    def _mark(self, number: int) -> NDArray[Any]:
        mark = np.zeros_like(self._pool[:1])
        words = mark.reshape(-1).view("<u8")
        words[0] = words[-1] = number
        words[1] = self._sent
        return mark if self._block else mark[0]

    def _report(self, begin_ns: int, busy_ns: int) -> None:
        spent_ns = time.monotonic_ns() - begin_ns
        self._control.report(items=self._sent, ns=spent_ns, busy_ns=time.process_time_ns() - busy_ns)
