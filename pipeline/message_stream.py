"""A stream of messages: items go in one by one and arrive once, in order, many in a message.

For values that happen often and are small.  Images and samples belong into rings of their own (`shm`); arrays put in
here go through a ring too where the recipient is on this machine.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import numpy as np

from shm import ShmError

from .errors import ClosedError, OutcomeError
from .log import RateLimit
from .receipt import State
from .stream_batch import Batcher
from .stream_ring import ArrayRing, is_large, ring_name
from .value import encode_frames
from .wire import VERSION, Outcome

if TYPE_CHECKING:
    from .node import NetNode

Q_SIZE: Final = 1024
"""Items that may wait unless `q_size` says otherwise."""
PUT_S: Final = 1.0
"""Longest wait of `put` for room."""
_LEAVE_S: Final = 2.0
_TRY_S: Final = 5.0
"""How long a batch is tried before it is sent anew."""


_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())


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
        self._headers = headers
        self._batcher = Batcher(min_size)
        self._q_size = q_size
        self._news = threading.Condition()
        self._put = self._arrived = self._failed = self._unknown = self._overflowed = self._batches = 0
        self._under_way = 0
        self._is_closing = False
        self._ring: ArrayRing | None = None
        self._has_tried_ring = False
        self._thread = threading.Thread(target=self._run, name=f"{node.id}.stream", daemon=True)
        self._thread.start()

    def put(self, item: Any, timeout_s: float = PUT_S) -> bool:
        """Hand an item over; ``"END"`` ends the stream.

        Returns:
            False if the queue stayed full for `timeout_s`: the item was not taken, and is counted as overflowed.

        Raises:
            ClosedError: the stream has ended.
            UnsendableError: the item cannot be sent; the text names the path.
        """
        if isinstance(item, str) and item == "END":
            self.end()
            return True
        item = keep(item)
        with self._news:
            if not self._news.wait_for(lambda: self._is_closing or len(self._batcher) < self._q_size, timeout_s):
                self._overflowed += 1
                return False
            if self._is_closing:
                raise ClosedError(f"the stream {self.id} of {self._node.id} has ended; it takes no more items")
            self._put += 1
            self._batcher.put(item, time.monotonic())
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
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        return is_done

    def statistics(self) -> StreamStatistics:
        """Return what became of the items so far."""
        with self._news:
            return StreamStatistics(
                self._put, self._arrived, self._failed, self._unknown, self._overflowed,
                len(self._batcher) + self._under_way, self._batches,
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

    def _run(self) -> None:
        with contextlib.suppress(ClosedError):  # released before everything had gone
            while (batch := self._next()) is not None:
                self._send(batch)

    def _next(self) -> list[Any] | None:
        """Wait for a batch; None when the stream has ended and everything has gone."""
        with self._news:
            while not self._batcher.is_done:
                batch = self._batcher.take(time.monotonic())
                if batch:
                    self._under_way = len(batch)
                    self._news.notify_all()
                    return batch
                due = self._batcher.next_due
                self._news.wait(None if due is None else max(0.0, due - time.monotonic()))
        return None

    def _send(self, batch: list[Any]) -> None:
        state, bad = self._deliver(batch)
        again: list[Any] = []
        with self._news:
            self._batches += 1
            if state == "done":
                self._failed += bad
                self._arrived += len(batch) - bad
            elif state == "expired" and not self._node.is_released:
                again = batch  # it has not run and will not: no item can arrive twice
            elif state == "unknown":
                self._unknown += len(batch)
            else:
                self._failed += len(batch)
            self._under_way = 0
            self._batcher.settled(again, time.monotonic())
            self._news.notify_all()

    def _deliver(self, batch: list[Any]) -> tuple[State, int]:
        """Send a batch and wait for its end; return it, and how many items the recipient says have failed."""
        try:
            receipt = self._node.send(self._to, "STREAM", self._value(batch), deadline_s=_TRY_S)
        except ClosedError:
            raise
        except Exception:  # whatever it is, the stream goes on and the items are counted
            _log.warning("%r: a batch of %d items could not be sent", self, len(batch), exc_info=True)
            return "failed", 0
        state = receipt.wait()
        if state != "done":
            return state, 0
        said = receipt.result(0)
        bad = said.get("failed") if isinstance(said, dict) else None
        return state, min(len(batch), bad) if isinstance(bad, int) else len(batch)

    def _value(self, batch: list[Any]) -> dict[str, Any]:
        payload, places = list(batch), {}
        ring = self._ring_for(batch)
        if ring is not None:
            large = [index for index, item in enumerate(batch) if ring.takes(item)][: ring.room]
            for index in large:
                places[index] = msgspec.to_builtins(ring.put(batch[index]))
                payload[index] = None
        return {"inner_key": self.key, "headers": self._headers, "payload": payload, "places": places}

    def _ring_for(self, batch: list[Any]) -> ArrayRing | None:
        """Return the ring, made and tried out for the first large array; None if the recipient does not see it."""
        if self._ring is None and not self._has_tried_ring:
            first = next(filter(is_large, batch), None)
            if first is not None:
                self._has_tried_ring = True
                self._ring = self._try_ring(first)
        return self._ring

    def _try_ring(self, first: np.ndarray[Any, Any]) -> ArrayRing | None:
        try:
            ring = ArrayRing(ring_name(self._node.id, self.id), first)
        except ShmError:
            return None
        opening = {"inner_key": self.key, "opening": {"ring": ring.name, "birth": ring.birth}}
        with contextlib.suppress(OutcomeError):
            if self._node.request(self._to, "STREAM", opening, timeout_s=_TRY_S)["ring"]:
                return ring
        ring.close()
        return None


def keep(item: Any) -> Any:
    """Return an item as it is now: changing it after it was put in changes nothing, and what cannot be sent is refused.

    Raises:
        UnsendableError: it cannot be sent.
    """
    encode_frames(Outcome(VERSION, item))
    return item if isinstance(item, str | bytes | int | float | None) else copy.deepcopy(item)
