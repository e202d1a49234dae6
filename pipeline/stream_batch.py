"""When items of a stream of messages go: a state machine without I/O.

A batch goes when `min_size` items wait, when the oldest has waited `max_wait_s`, or at END; never while the batch
before it has no end yet, so that items arrive in order whatever happens to a batch on its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

MAX_WAIT_S: Final = 0.1
MAX_BATCH: Final = 256
"""Items in one message at most."""


class Batcher:
    """Items that wait to be sent."""

    def __init__(self, min_size: int, max_wait_s: float = MAX_WAIT_S) -> None:
        self._min_size = max(1, min_size)
        self._max_wait_s = max_wait_s
        self._waiting: deque[tuple[float, Any]] = deque()
        self._is_under_way = False
        self._is_ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_done(self) -> bool:
        """END was said and everything has gone."""
        return self._is_ended and not self._waiting and not self._is_under_way

    @property
    def next_due(self) -> float | None:
        """When `take` has something by the clock alone; None if only news change that."""
        return None if self._is_under_way or not self._waiting else self._waiting[0][0] + self._max_wait_s

    def put(self, item: Any, now: float) -> None:
        """Take an item in."""
        self._waiting.append((now, item))

    def end(self) -> None:
        """No item follows: what waits goes at once."""
        self._is_ended = True

    def take(self, now: float) -> list[Any]:
        """Return the batch that is to go now, empty if none is; it is under way until `settled`."""
        if self._is_under_way or not self._waiting:
            return []
        is_due = now >= self._waiting[0][0] + self._max_wait_s
        if not (is_due or self._is_ended or len(self._waiting) >= self._min_size):
            return []
        self._is_under_way = True
        return [self._waiting.popleft()[1] for _ in range(min(len(self._waiting), MAX_BATCH))]

    def settled(self, again: Iterable[Any] = (), now: float = 0.0) -> None:
        """The batch has an end; items `again` have not arrived and go first."""
        self._is_under_way = False
        self._waiting.extendleft((now, item) for item in reversed(list(again)))

    def __repr__(self) -> str:
        return f"<Batcher {len(self._waiting)} waiting{', one batch under way' if self._is_under_way else ''}>"
