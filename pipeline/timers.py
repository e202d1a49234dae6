"""When which message is looked at next; the newest word on a message counts."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Final

from .outgoing import Outgoing

NEVER: Final = float("inf")


class Timers:
    """A heap of times; what was settled or scheduled anew is skipped when its old time comes.

    Args:
        items: messages that are not settled, by counter.
    """

    def __init__(self, items: Mapping[int, Outgoing]) -> None:
        self._items = items
        self._heap: list[tuple[float, int]] = []

    @property
    def next_due(self) -> float:
        """When `pop` has something; infinity if never."""
        heap, items = self._heap, self._items
        while heap:
            due, counter = heap[0]
            item = items.get(counter)
            if item is not None and item.due == due:
                return due
            heapq.heappop(heap)
        return NEVER

    def schedule(self, item: Outgoing, due: float) -> None:
        """Look at a message then, and not when it was said before."""
        item.due = due
        heapq.heappush(self._heap, (due, item.counter))

    def pop(self, now: float) -> Outgoing | None:
        """Return a message whose time has come, None if there is no more."""
        if self.next_due > now:
            return None
        return self._items[heapq.heappop(self._heap)[1]]
