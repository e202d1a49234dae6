"""Readers in asyncio: one socket and one descriptor for all readers of an event loop, no thread.

What `notify` says holds here too: the ring is the truth, a notice only ends a sleep early, and a sleep lasts 20 ms at
most, so a lost notice costs no more. A reader that has something to read does not arm, and is not notified.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Self, overload

from .errors import ClosedError
from .notify import Notices
from .stream_reader import StreamReader

if TYPE_CHECKING:
    from types import TracebackType

    from shm import Blob, BlobReader, Item, RingReader

    from .transport import Context

    Reader = RingReader | BlobReader | StreamReader

TURN_S: Final = 0.002
"""A loop over items that never has to wait lets other tasks run this often."""


class AsyncNotices:
    """Waits in a running event loop for news of any number of rings.

        with AsyncNotices(context) as notices:
            async for item in notices.items(reader): ...

    Each reader belongs to one task, as it otherwise belongs to one thread.

    Args:
        context: any of this process.

    Raises:
        RuntimeError: no event loop runs in this thread.
    """

    def __init__(self, context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        self._notices = Notices(context)
        self._sleepers: set[asyncio.Future[None]] = set()
        self._is_open = True
        self._fd = self._notices.fileno()
        self._loop.add_reader(self._fd, self._wake_all)

    async def wait(self, reader: Reader, timeout_s: float = math.inf) -> bool:
        """Wait until there is something to read or the ring has ended; False after `timeout_s`, or if none will come.

        Raises:
            ClosedError: `close` was called, before or meanwhile.
        """
        if reader.wait(0.0):
            return True
        ring = _ring_of(reader)
        self._check_open()
        self._notices.follow(_key(ring), ring)
        deadline = time.monotonic() + timeout_s
        while not reader.wait(0.0):
            left = deadline - time.monotonic()
            if left <= 0 or ring.is_superseded:
                return reader.wait(0.0)
            self._check_open()
            self._notices.drain()  # the descriptor speaks up once; what has come by now is old
            if not ring.arm():
                await self._sleep(min(left, self._notices.slice_s()))
        return True

    @overload
    def items(self, reader: RingReader | StreamReader) -> AsyncIterator[Item]: ...
    @overload
    def items(self, reader: BlobReader) -> AsyncIterator[Blob]: ...
    async def items(self, reader: Reader) -> AsyncIterator[Item | Blob]:
        """Yield items by the reader's policy until its iteration would end; other tasks run meanwhile.

        Raises:
            ClosedError: as `wait`.
        """
        turn = time.monotonic()
        try:
            while True:
                item = reader.read(0.0)
                if item is not None:
                    yield item
                elif _is_over(reader):
                    return
                else:
                    await self.wait(reader)
                    turn = time.monotonic()
                if time.monotonic() - turn > TURN_S:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
        finally:
            self.forget(reader)

    def forget(self, reader: Reader) -> None:
        """Hear no more of this reader's ring; a later `wait` begins anew."""
        if self._is_open:
            self._notices.follow(_key(_ring_of(reader)), None)

    def close(self) -> None:
        """Stop; who still waits gets a ClosedError."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._fd)
        self._notices.close()
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_exception(ClosedError("these notices were closed while somebody waited"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AsyncNotices {self._notices!r} waiting={len(self._sleepers)}>"

    async def _sleep(self, timeout_s: float) -> None:
        """Sleep until anything is heard, or so long."""
        sleeper = self._loop.create_future()
        alarm = self._loop.call_later(timeout_s, _wake, sleeper)
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            alarm.cancel()
            self._sleepers.discard(sleeper)

    def _wake_all(self) -> None:
        """Called by the loop when the socket has news: hear it, and let everybody look at their ring."""
        self._notices.drain()
        for sleeper in self._sleepers:
            _wake(sleeper)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("these notices are closed; make new ones in the loop that waits")


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _ring_of(reader: Reader) -> RingReader | BlobReader:
    return reader.blocks if isinstance(reader, StreamReader) else reader


def _key(ring: RingReader | BlobReader) -> str:
    return f"{ring.name}@{id(ring):x}"


def _is_over(reader: Reader) -> bool:
    """Tell, after a read that brought nothing, whether nothing will come."""
    if isinstance(reader, StreamReader) and reader.has_ended:
        return True
    ring = _ring_of(reader)
    return (ring.ended or ring.is_superseded) and ring.lag == 0  # in this order: the last item comes before the end
