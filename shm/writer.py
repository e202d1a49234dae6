"""The writing end of a ring of arrays.

I1  `claimed` is stored, with a fence, before the first byte of an item changes.
I2  `published` is stored, released, after the last byte and time of an item.
Both live in the native `write`, `_claim` and `_publish`; here are creation, conversion, waiting and the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _native, table
from .end import RingEnd
from .errors import SpecError, SpecMismatchError
from .layout import ENDED
from .ring import Ring, word
from .segment import page_bytes
from .spec import RingSpec

_SLICE_NS = 10_000_000
"""A waiting writer looks every 10 ms whether the readers that it waits for are still alive."""
_COUNTS = ("published", "claimed", "epoch", "demotions", "reaped", "waits", "waited_ns")
_SPIN_NS = 20_000
"""Before it sleeps it spins this long: a reader in full flow makes room within it."""


class Notifier(Protocol):
    """Told, after a publish, that somebody armed and has not been told yet."""

    def notify(self, sequence: int) -> None:
        """Items below `sequence` are published."""


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """What a writer has done; counts since the ring's creation, over takeovers.

    Attributes:
        published: items that are whole.
        claimed: items that may be changing.
        epoch: writers that this generation has had.
        demotions: lossless readers left behind.
        reaped: entries of dead readers removed.
        waits: claims that waited for a lossless reader.
        waited_ns: time spent so.
        is_orphaned: the name is gone or leads elsewhere, so nobody finds the ring any more.
    """

    published: int
    claimed: int
    epoch: int
    demotions: int
    reaped: int
    waits: int
    waited_ns: int
    is_orphaned: bool


def statistics_of(ring: Ring) -> WriterStatistics:
    """Return the counts of a ring's writers."""
    counts = {name: ring.words.load(word(name)) for name in _COUNTS}
    return WriterStatistics(**counts, is_orphaned=not ring.segment.is_linked())


class WriterEnd(RingEnd, _native.Writer):
    """What writers of arrays and of blobs share: life, waiting, the end. Serves one thread."""

    def __init__(self, ring: Ring, timeout_s: float, notifier: Notifier | None) -> None:
        self._ring = ring
        self._timeout_ns = int(timeout_s * 1e9)
        self._notifier = notifier
        self._is_open = True
        self._attach(*ring.sections())

    def statistics(self) -> WriterStatistics:
        """Return the counts of this ring's writers."""
        self._check_open()
        return statistics_of(self._ring)

    @property
    def is_orphaned(self) -> bool:
        """The name is gone, or leads to another ring, while we write: new readers do not find us.

        systemd's `RemoveIPC=yes` does so when a normal user logs out; so does `rm /dev/shm/pl*`. Close and create anew.
        """
        return self._is_open and not self._ring.segment.is_linked()

    def end(self) -> None:
        """Say that no item follows: readers drain, then stop."""
        self._check_open()
        self._ring.raise_flag(ENDED)
        if self._notifier is not None:
            self._notifier.notify(self.published)

    def close(self, *, unlink: bool = True) -> None:
        """End the ring and let go of it; views that are still held stay valid.

        Args:
            unlink: remove the name too. What is left otherwise is taken over by the next writer of the name.
        """
        if not self._is_open:
            return
        self.end()
        self._is_open = False
        self._detach()
        if unlink:
            self._ring.segment.unlink_if_ours()
        self._ring.close()

    def __repr__(self) -> str:
        if not self._is_open:
            return f"<{type(self).__name__} {self.name} closed>"
        lost = " orphaned" if self.is_orphaned else ""
        return (
            f"<{type(self).__name__} {self.name}{lost} seq={self.published} slots={self.slots} "
            f"readers={len(self.readers())}>"
        )

    def _notify(self, sequence: int) -> None:
        """Called by the native publish when a waiter on notices had armed."""
        if self._notifier is not None:
            self._notifier.notify(sequence)

    def _make_room(self, upto: int) -> None:
        """Called by the native claim when a lossless reader is in the way: reap, wait, then demote.

        One time-out for all readers of one claim, before `claimed` is raised. Time in which we did not run is not
        counted: whoever stops the whole rig for a while has stopped the reader too.
        """
        began = time.monotonic_ns()
        left = self._timeout_ns if self.can_wait else 0
        words = self._ring.words
        is_open = False
        while not is_open:
            before = time.monotonic_ns()
            for index, state in list(table.blockers(self._ring, upto)):
                if table.reap(self._ring, index, state):
                    words.fetch_add(word("reaped"), 1)
                elif left <= 0 and table.demote(self._ring, index, state):
                    words.fetch_add(word("demotions"), 1)
            is_open = self._wait_room(upto, min(left, _SLICE_NS), _SPIN_NS) if left > 0 else self._scan(upto)
            left -= min(time.monotonic_ns() - before, 2 * _SLICE_NS)
        if self.can_wait:
            words.fetch_add(word("waits"), 1)
            words.fetch_add(word("waited_ns"), time.monotonic_ns() - began)


class RingWriter(WriterEnd):
    """The one writer of a ring of arrays.

        with RingWriter.create("cam0", shape=(480, 640, 3), dtype="u1", seconds=3, rate=60) as ring:
            with ring.claim() as image:
                camera.read(image)

    `write` copies one item, `write_block` many, `claim` hands out slots to fill in place.
    """

    @classmethod
    def create(
        cls,
        name: str,
        *,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        slots: int | None = None,
        seconds: float | None = None,
        rate: float | None = None,
        can_wait: bool = False,
        timeout_s: float = 1.0,
        mode: int = 0o600,
        notifier: Notifier | None = None,
        meta: MappingABC[str, Any] | None = None,
        lossless: Iterable[str] | None = None,
        first: int = 0,
    ) -> RingWriter:
        """Create a ring, or take over one whose writer died.

        A dead writer's ring of the same description goes on at its `published` with `epoch` + 1; of another
        description it is unlinked, its readers are told, and a new generation (`birth`) begins.

        Args:
            name: full name, up to 200 bytes.
            shape: of one item; () for a scalar.
            dtype: of one item; structured ones too, no Python objects.
            slots: items that the ring holds, at least; rounded up so that small items fill whole pages.
            seconds: instead of slots, with rate: how long the ring reaches back.
            rate: items per second.
            can_wait: the source can be made to wait (a file, a replay): lossless readers are waited for. A live
                source (False) never waits: a lossless reader in the way is demoted and its losses are counted.
            timeout_s: how long one claim waits, for all lossless readers together, before it demotes them.
            mode: of the segment; 0o660 lets your group read.
            notifier: told when a reader that waits for notices has something to read.
            meta: JSON-able, up to 2 KiB: rate, labels, unit.
            lossless: names of the readers that may be lossless, all if None: who is lossless can hold up a writer
                that waits, or make one that does not count losses.
            first: sequence of the first item.

        Raises:
            WriterAliveError: another writer lives.
            SpaceError: /dev/shm is too small.
            SpecError: the description is not possible.
        """
        count = slots_of(slots, seconds, rate)
        described = RingSpec.of_items(
            tuple(shape),
            dtype,
            count,
            can_wait=can_wait,
            meta=meta or {},
            granule=page_bytes(),
            lossless=lossless,
        )
        return cls(Ring.create(name, described, mode=mode, first=first), timeout_s, notifier)

    def _coerce(self, item: ArrayLike) -> np.ndarray[Any, Any]:
        """Called by the native write for what is no contiguous array of our dtype and shape."""
        return _conforming(item, self.dtype, self.shape, self.name)

    def _coerce_block(self, items: ArrayLike) -> np.ndarray[Any, Any]:
        array = _conforming(items, self.dtype, None, self.name)
        if array.ndim != 1 + len(self.shape) or array.shape[1:] != self.shape:
            raise SpecMismatchError(f"{self.name}: got a block of shape {array.shape}, expected (k, *{self.shape})")
        return array


def _conforming(
    item: ArrayLike, dtype: np.dtype[Any], shape: tuple[int, ...] | None, name: str
) -> np.ndarray[Any, Any]:
    """Return `item` as a contiguous array of dtype and shape; arrays are never cast silently."""
    if isinstance(item, np.ndarray | np.generic) and item.dtype != dtype:
        raise SpecMismatchError(f"{name}: got dtype {item.dtype}, expected {dtype}; convert it with .astype() first")
    array = np.asarray(item, dtype=dtype, order="C")
    if shape is not None and array.shape != shape:
        raise SpecMismatchError(f"{name}: got shape {array.shape}, expected {shape}")
    if not array.flags.c_contiguous:
        array = np.array(array, order="C")
    return array


def slots_of(slots: int | None, seconds: float | None, rate: float | None) -> int:
    """Return the number of slots from `slots`, or from `seconds` and `rate`.

    Raises:
        SpecError: neither or both were given, or a number is not positive.
    """
    if (slots is None) == (seconds is None):
        raise SpecError("give either slots= or seconds= (with rate=)")
    if slots is None:
        if rate is None or seconds is None or not (rate > 0 and seconds > 0):
            raise SpecError(f"seconds={seconds} rate={rate}: both must be positive")
        slots = math.ceil(seconds * rate)
    if slots < 1:
        raise SpecError(f"slots={slots}: expected at least 1")
    return int(slots)
