"""A look at items where they are, validated on leaving."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import OverrunError
from .item import Run

if TYPE_CHECKING:
    from .reader import ReaderEnd


class View:
    """``with reader.view() as run``; see `RingReader.view`."""

    __slots__ = ("_begin", "_explicit", "_reader", "_run")

    def __init__(self, reader: ReaderEnd, begin: Callable[[], Run], *, explicit: bool) -> None:
        self._reader = reader
        self._begin = begin
        self._explicit = explicit

    def __enter__(self) -> Run:
        self._run = run = self._begin()
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run, reader = self._run, self._reader
        if not self._explicit:
            reader._viewing = False
            run.good = not reader._finish(run.first, run.count)
            return
        bad = reader._bad(run.first, run.count)
        run.good = not bad
        if bad and kind is None:
            raise OverrunError(
                f"{reader.name}: {bad} of {run.count} items from {run.first} were overwritten during use",
                first=run.first,
                lost=bad,
            )
