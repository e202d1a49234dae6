"""What a reading process does with what arrives: check every item, look as the job says, and count."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .feed import BEGIN, END

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .child import Control
    from .transport import Job


class Sink:
    """Takes items until the last.

    Args:
        control: line to the process that measures.
        job: what is moved.
        index: which of the readers this is.
    """

    def __init__(self, control: Control, job: Job, index: int = 0) -> None:
        self.index = index
        self._control = control
        self._is_full, self._is_paced = job.use == "full", job.use == "paced"
        self._seen = self._wrong = self._begin_ns = self._busy_ns = 0
        self._delays: list[int] = []

    def start(self) -> None:
        """Say that items may come; return when all readers are there."""
        self._control.ready()

    async def start_async(self) -> None:
        """Do as `start`, while the event loop goes on."""
        await self._control.ready_async()

    def take(self, words: memoryview) -> bool:
        """Check one item, given as words of 64 bits; True for the last."""
        if self._is_full:
            np.add.reduce(np.frombuffer(words, "<u8"))
        elif self._is_paced:
            self._delays.append(time.monotonic_ns() - words[1])
        seen = self._seen
        if words[0] == words[-1] == seen:
            self._seen = seen + 1
            return False
        return self._take_mark(words)

    def take_run(self, items: NDArray[Any]) -> bool:
        """Check a run of small items at once, shape (k, *shape); True if the last was among them."""
        words = items.reshape(len(items), -1).view("<u8")
        expected = np.arange(self._seen, self._seen + len(items), dtype="<u8")
        if np.array_equal(words[:, 0], expected) and np.array_equal(words[:, -1], expected):
            self._seen += len(items)
            return False
        return any(self.take(one.data) for one in words)  # until the last

    def spoil(self, count: int) -> None:
        """Say that so many items changed while they were in use."""
        self._wrong += count

    def _take_mark(self, words: memoryview) -> bool:
        if words[0] == words[-1] == BEGIN:
            self._seen = self._wrong = 0
            self._delays.clear()
            self._begin_ns, self._busy_ns = time.monotonic_ns(), time.process_time_ns()
            return False
        if words[0] == words[-1] == END:
            self._report(sent=words[1])
            return True
        self._wrong += 1
        self._seen = words[0] + 1  # go on from there: what is missing is told at the end
        return False

    def _report(self, sent: int) -> None:
        spent_ns = time.monotonic_ns() - self._begin_ns
        busy_ns = time.process_time_ns() - self._busy_ns
        wrong = self._wrong + abs(sent - self._seen)
        self._control.report(items=self._seen, ns=spent_ns, busy_ns=busy_ns, wrong=wrong, delays_ns=self._delays[:-1])
