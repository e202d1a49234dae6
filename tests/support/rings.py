"""A ring made of a list, for what only needs something that can be claimed and published."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ListClaim:
    """Items being filled."""

    def __init__(self, ring: ListRing, count: int) -> None:
        self.items = np.zeros((count, *ring.shape), ring.dtype)
        self._ring = ring
        self.is_open = False

    def __enter__(self) -> NDArray[Any]:
        self.is_open = True
        return self.items

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False

    def publish(self, count: int, time_ns: int | None = None, period_ns: int = 0) -> None:
        assert self.is_open, "published outside the claim"
        assert time_ns is not None or count == 0
        self._ring.items += list(self.items[:count])
        self._ring.times += [(time_ns or 0) + index * period_ns for index in range(count)]


class ListRing:
    """Keeps all that is published."""

    def __init__(self, shape: tuple[int, ...], dtype: str, slots: int = 1000) -> None:
        self.shape, self.dtype, self.slots = shape, dtype, slots
        self.items: list[NDArray[Any]] = []
        self.times: list[int] = []
        self.claims: list[ListClaim] = []

    def claim(self, n: int) -> ListClaim:
        self.claims.append(ListClaim(self, n))
        return self.claims[-1]


class ManualClock:
    """Time that passes when somebody waits, and by ``tick_ns`` with each look."""

    def __init__(self, now_ns: int = 5_000_000_000, tick_ns: int = 0) -> None:
        self.time_ns, self.tick_ns = now_ns, tick_ns
        self.waits: list[int] = []

    def now_ns(self) -> int:
        self.time_ns += self.tick_ns
        return self.time_ns

    def wait(self, halt: threading.Event, until_ns: int) -> bool:
        self.waits.append(until_ns)
        self.time_ns = max(self.time_ns, until_ns)
        return not halt.is_set()
