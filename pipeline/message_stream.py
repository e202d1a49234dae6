"""A stream of messages: items go in one by one and arrive once, in order, many in a message.

For values that happen often and are small.  Images and samples belong into rings of their own (`shm`); arrays put in
here go through a ring too where the recipient is on this machine.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from .errors import ClosedError
from .stream_batch import Batcher
from .stream_item import freeze
from .stream_ring import ArrayRing
from .stream_sender import BatchSender, Fate

if TYPE_CHECKING:
    from .node import NetNode

Q_SIZE: Final = 1024
"""Items that may wait unless `q_size` says otherwise."""
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024
"""Of all items that wait; one alone may have more."""
PUT_S: Final = 1.0
"""Longest wait of `put` for room."""
_LEAVE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """What became of the items of a stream; put = arrived + failed + unknown + waiting."""

    put: int
    arrived: int
    """Their listens have returned."""
    failed: int
    """Their listens raised, or there is none."""
    unknown: int
    """The recipient restarted with them: they may have arrived."""
    overflowed: int
    """Refused by `put`: the queue stayed full."""
    waiting: int
    batches: int


class MessageStream:
    """One stream of a node; made by `NetNode.get_stream`.  Any thread may put.

    with node.get_stream("licks", "DATA") as stream:
        stream.put({"lick": 3})
    """

    def __init__(
        self,
        node: NetNode,
        id: str,  # noqa: A002 - the seed's word
        key: str,
        *,
        to: str,
        headers: dict[str, Any],
        min_size: int,
        q_size: int,
    ) -> None:
        self.id = id
        self.key = key
        self._node = node
        self._to = to
        self._ring = ArrayRing(node.id, id)
        self._sender = BatchSender(node, self._ring, to=to, key=key, headers=headers)
        self._batcher = Batcher(min_size)
        self._q_size = q_size
        self._news = threading.Condition()
        self._put = self._arrived = self._failed = self._unknown = self._overflowed = self._batches = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"{node.id}.stream", daemon=True)
        self._thread.start()

    def put(self, item: Any, timeout_s: float = PUT_S) -> bool:
        """Hand an item over; ``"END"`` ends the stream.

        Returns:
            False if the queue stayed full for `timeout_s`: the item was not taken, and is counted as overflowed.

        Raises:
            ClosedError: the stream has ended.
            DuplicateIdError: another node has our id, so that nothing can be sent.
            UnsendableError: the item cannot be sent; the text names the path.
        """
        if isinstance(item, str) and item == "END":
            self.end()
            return True
        if self._node.problem is not None:
            raise self._node.problem
        frozen, nbytes = freeze(item)  # not under the lock: nobody waits for another's copy
        with self._news:
            if not self._news.wait_for(lambda: self._is_closing or self._has_room(nbytes), timeout_s):
                self._overflowed += 1
                return False
            if self._is_closing:
                raise ClosedError(f"the stream {self.id} of {self._node.id} has ended; it takes no more items")
            self._put += 1
            self._batcher.put(frozen, time.monotonic(), nbytes)
            self._news.notify_all()
        return True

    append = put

    def end(self) -> None:
        """Take no more items; what waits goes at once."""
        with self._news:
            self._is_closing = True
            self._batcher.end()
            self._news.notify_all()

    def close(self, timeout_s: float = 10.0) -> bool:
        """End, wait until everything has arrived, let go; idempotent.  False if it had not within `timeout_s`."""
        self.end()
        self._thread.join(timeout_s)
        with self._news:
            is_done = self._batcher.is_done
        self._node.release()
        self._thread.join(_LEAVE_S)
        self._ring.close()
        return is_done

    def statistics(self) -> StreamStatistics:
        """Return what became of the items so far."""
        with self._news:
            return StreamStatistics(
                self._put, self._arrived, self._failed, self._unknown, self._overflowed,
                len(self._batcher) + self._batcher.under_way, self._batches,
            )  # fmt: skip

    @property
    def overflowed(self) -> int:
        """Items that `put` refused."""
        return self._overflowed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MessageStream {self.id} of {self._node.id}: {self.key} to {self._to}, {len(self._batcher)} waiting>"

    def _has_room(self, nbytes: int) -> bool:
        waiting = len(self._batcher)
        return not waiting or (waiting < self._q_size and self._batcher.nbytes + nbytes <= MAX_WAITING_BYTES)

    def _run(self) -> None:
        with contextlib.suppress(ClosedError):  # released before everything had gone
            while (batch := self._next()) is not None:
                self._settle(len(batch), self._sender.deliver(batch))

    def _next(self) -> list[Any] | None:
        """Wait for a batch; None when the stream has ended and everything has gone."""
        with self._news:
            while not self._batcher.is_done:
                batch = self._batcher.take(time.monotonic())
                if batch:
                    self._news.notify_all()
                    return batch
                due = self._batcher.next_due
                self._news.wait(None if due is None else max(0.0, due - time.monotonic()))
        return None

    def _settle(self, count: int, fate: Fate) -> None:
        with self._news:
            self._batches += 1
            if fate.end == "again" and not self._node.is_released:
                self._batcher.again()
            elif fate.end == "too_much":
                self._batcher.again(most=count // 2)
            else:
                self._count(count, fate)
                self._batcher.settled()
            self._news.notify_all()

    def _count(self, count: int, fate: Fate) -> None:
        if fate.end == "done":
            self._failed += fate.failed
            self._arrived += count - fate.failed
        elif fate.end == "unknown":
            self._unknown += count
        else:
            self._failed += count
