"""The recipient's end of rings of arrays: rings of other nodes, attached when a batch names one.

A ring through which nothing came for a second is let go, so that one whose sender has died can be removed
(`pipeline clean`) and its memory is free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from shm import BlobReader, ShmError

from .arrays import PackedArray
from .errors import MalformedError
from .stream_ring import PREFIX, Blob

IDLE_S: Final = 1.0
MAX_RINGS: Final = 64
"""Rings that are kept attached between batches."""


class ArrayRings:
    """Rings of other nodes; used by any thread."""

    def __init__(self) -> None:
        self._idle: dict[str, tuple[BlobReader, float]] = {}
        """Attached, nobody reads in them now, and since when; the longest first."""
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def fill(self, sender: str, payload: list[Any], blob: Blob) -> bool:
        """Copy the arrays of a batch to their places in its payload; False if this machine's memory has them not.

        Raises:
            MalformedError: the ring is not that sender's, or the places are not what a sender makes.
        """
        if not blob.ring.startswith(f"{PREFIX}/{sender}/"):
            raise MalformedError(f"ring {blob.ring!r} is none of {sender}'s")
        try:
            with self._attached(blob.ring, blob.birth) as reader, reader.view(1, at=blob.sequence) as run:
                found = [bytes(run.data[0][place.start : place.stop]) for place in blob.places]
        except (ShmError, ValueError):
            return False
        for place, data in zip(blob.places, found, strict=True):
            _set(payload, place.where, PackedArray.unpack(memoryview(place.header), [data]).expand())
        return True

    def close(self) -> None:
        """Let go of all rings."""
        with self._news:
            self._is_closed = True
            self._let_go(time.monotonic() + IDLE_S)
            self._news.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    @contextmanager
    def _attached(self, name: str, birth: int) -> Iterator[BlobReader]:
        """Give a reader of a ring, for one thread; nobody waits for another's copy."""
        with self._news:
            known = self._idle.pop(name, None)
        reader = known[0] if known is not None else None
        if reader is not None and (reader.birth != birth or reader.is_superseded):
            reader.close()
            reader = None
        if reader is None:
            reader = BlobReader.attach(name, policy="latest", reader=PREFIX)
        try:
            if reader.birth != birth:
                raise ShmError(f"{name} is another one: birth {reader.birth:016x}, not {birth:016x}")
            yield reader
        finally:
            self._keep(name, reader)

    def _keep(self, name: str, reader: BlobReader) -> None:
        with self._news:
            if self._is_closed or name in self._idle or len(self._idle) >= MAX_RINGS:
                reader.close()
                return
            self._idle[name] = reader, time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="rings", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        """Let go of what is idle; runs as long as a ring is attached."""
        with self._news:
            while self._idle:
                since = next(iter(self._idle.values()))[1]
                self._news.wait(max(0.0, since + IDLE_S - time.monotonic()))
                self._let_go(time.monotonic())
            self._thread = None

    def _let_go(self, now: float) -> None:
        for name, (reader, since) in list(self._idle.items()):
            if now - since >= IDLE_S:
                del self._idle[name]
                reader.close()


def _set(payload: list[Any], where: list[Any], array: Any) -> None:
    try:
        index, *key = where
        if key:
            payload[index][key[0]] = array
        else:
            payload[index] = array
    except (TypeError, ValueError, LookupError) as error:
        raise MalformedError(f"a batch has no place {where!r}") from error
