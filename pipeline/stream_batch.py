"""When items of a stream of messages go: a state machine without I/O.

A batch goes when `min_size` items wait, when the oldest has waited `max_wait_s`, or at END; never while the batch
before it has no end yet, so that items arrive in order whatever happens to a batch on its way.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

MAX_WAIT_S: Final = 0.1
MAX_BATCH: Final = 256
"""Items in one message at most."""
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of several items: what a slow link carries before the batch is tried again.  One item alone may have more."""


class Waiting(NamedTuple):
    """An item that waits."""

    since: float
    item: Any
    nbytes: int


class Batcher:
    """Items that wait to be sent.

    Attributes:
        nbytes: of all that wait.
    """

    def __init__(self, min_size: int, max_wait_s: float = MAX_WAIT_S) -> None:
        self.nbytes = 0
        self._min_size = max(1, min_size)
        self._max_wait_s = max_wait_s
        self._most = MAX_BATCH
        self._waiting: deque[Waiting] = deque()
        self._under_way: list[Waiting] = []
        self._is_ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        """Items of the batch that has no end yet."""
        return len(self._under_way)

    @property
    def is_done(self) -> bool:
        """END was said and everything has gone."""
        return self._is_ended and not self._waiting and not self._under_way

    @property
    def next_due(self) -> float | None:
        """When `take` has something by the clock alone; None if only news change that."""
        return None if self._under_way or not self._waiting else self._waiting[0].since + self._max_wait_s

    def put(self, item: Any, now: float, nbytes: int = 0) -> None:
        """Take an item in."""
        self._waiting.append(Waiting(now, item, nbytes))
        self.nbytes += nbytes

    def end(self) -> None:
        """No item follows: what waits goes at once."""
        self._is_ended = True

    def take(self, now: float) -> list[Any]:
        """Return the batch that is to go now, empty if none is; it is under way until it has an end."""
        if self._under_way or not self._waiting:
            return []
        is_due = now >= self._waiting[0].since + self._max_wait_s
        if not (is_due or self._is_ended or len(self._waiting) >= self._min_size):
            return []
        room = MAX_BATCH_BYTES
        while self._waiting and len(self._under_way) < self._most:
            room -= self._waiting[0].nbytes
            if room < 0 and self._under_way:
                break
            self._under_way.append(self._waiting.popleft())
        self.nbytes -= sum(one.nbytes for one in self._under_way)
        return [one.item for one in self._under_way]

    def settled(self) -> None:
        """The batch has its end."""
        self._under_way = []
        self._most = MAX_BATCH

    def again(self, most: int = MAX_BATCH) -> None:
        """The batch has not arrived and will not: its items go first, at once, at most so many together."""
        self.nbytes += sum(one.nbytes for one in self._under_way)
        self._waiting.extendleft(reversed(self._under_way))
        self._under_way = []
        self._most = most

    def __repr__(self) -> str:
        return f"<Batcher {len(self._waiting)} waiting{', one batch under way' if self._under_way else ''}>"
