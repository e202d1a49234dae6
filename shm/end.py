"""What both ends of a ring show of it: what its header says, who reads it, and whether this end is open."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from types import TracebackType
from typing import Any, Self

import numpy as np

from . import table
from .clock import ClockPair
from .errors import ClosedError
from .ring import Ring


class RingEnd:
    """A writer, reader or observer of one ring; closes itself at the end of a `with`."""

    _ring: Ring
    _is_open: bool

    @property
    def name(self) -> str:
        """Full name of the ring."""
        return self._ring.name

    @property
    def segment_name(self) -> str:
        """Name of the segment, /pl… of at most 30 characters."""
        return self._ring.segment.name

    @property
    def slots(self) -> int:
        """Items that the ring holds; may be more than asked for, so that it fits pages."""
        return self._ring.spec.geometry.slots

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item; of a blob ring (max_bytes,)."""
        return self._ring.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of one item."""
        return self._ring.spec.dtype

    @property
    def can_wait(self) -> bool:
        """The writer waits for lossless readers before it leaves them behind."""
        return self._ring.spec.can_wait

    @property
    def meta(self) -> MappingABC[str, Any]:
        """What the creator said about the stream."""
        return self._ring.spec.meta

    @property
    def birth(self) -> int:
        """64 random bits of this generation; (stream, birth, sequence) names an item for ever."""
        return self._ring.birth

    @property
    def epoch(self) -> int:
        """Writers that this generation has had; above 1 after a takeover."""
        return self._ring.epoch

    @property
    def clock(self) -> ClockPair:
        """Clock domain of the times, and one instant on both clocks."""
        return self._ring.clock

    @property
    def is_closed(self) -> bool:
        """`close` was called."""
        return not self._is_open

    def readers(self) -> list[table.ReaderRow]:
        """Return who reads this ring."""
        self._check_open()
        return table.rows(self._ring)

    @property
    def slowest(self) -> int | None:
        """Sequence that the slowest living lossless reader reads next; None if there is no such reader."""
        self._check_open()
        return table.slowest(self._ring)

    def close(self) -> None:
        """Let go of the ring."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError(f"{self.name}: this {type(self).__name__} is closed")
