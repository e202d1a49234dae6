"""Rings whose items are byte strings of varying length, up to a maximum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingABC
from typing import TYPE_CHECKING, Any

import numpy as np

from . import table
from .claim import BlobClaim
from .errors import LayoutError, OverrunError, RingEmptyError, SpecError
from .item import Blob
from .reader import ReaderEnd, Start
from .ring import Ring, Role
from .segment import array_of, page_bytes
from .spec import RingSpec
from .table import Policy
from .waiter import Waiter, WaiterFactory
from .writer import Notifier, WriterEnd, slots_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ATTEMPTS = 3


class BlobWriter(WriterEnd):
    """The one writer of a ring of byte strings."""

    @classmethod
    def create(
        cls,
        name: str,
        *,
        max_bytes: int,
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
    ) -> BlobWriter:
        """Create a ring of blobs, or take over one whose writer died; see `RingWriter.create`.

        Args:
            name: full name.
            max_bytes: of one blob.
            slots: blobs that the ring holds, each with room for `max_bytes`.
            seconds: instead of slots, with rate.
            rate: blobs per second.
            can_wait: lossless readers are waited for.
            timeout_s: how long, per claim.
            mode: of the segment.
            notifier: told when a reader that waits for notices has something to read.
            meta: JSON-able, up to 2 KiB.
            lossless: names of the readers that may be lossless, all if None.
            first: sequence of the first blob.
        """
        count = slots_of(slots, seconds, rate)
        spec = RingSpec.of_blobs(
            max_bytes, count, can_wait=can_wait, meta=meta or {}, granule=page_bytes(), lossless=lossless
        )
        return cls(Ring.create(name, spec, mode=mode, first=first), timeout_s, notifier)

    @property
    def max_bytes(self) -> int:
        """Longest blob."""
        return self._ring.spec.geometry.item_bytes

    def write(self, *parts: Buffer, time_ns: int | None = None) -> int:  # type: ignore[override]  # blobs, not arrays
        """Copy the parts, one after the other, as one blob; return its sequence.

        Raises:
            ValueError: together they are longer than `max_bytes`.
        """
        return self._write_parts(parts, time_ns)

    def write_block(self, *_: object, **__: object) -> int:
        """Refuse: blobs are written one by one."""
        raise SpecError(f"{self.name}: a ring of blobs has no blocks; write each blob")

    def claim(self, n: int | None = None) -> BlobClaim:  # type: ignore[override]  # memory of unknown length
        """Return one slot to fill in place: ``with ring.claim() as view``, then ``claim.publish(length)``."""
        if n not in (None, 1):
            raise SpecError(f"{self.name}: blobs are claimed one by one, got n={n}")
        return BlobClaim(self)

    def claim_slot(self) -> tuple[int, memoryview]:
        """Claim one slot for a `BlobClaim`; return its sequence and its memory."""
        sequence = self._claim(1)
        g = self._ring.spec.geometry
        start = sequence % g.slots * g.stride
        return sequence, memoryview(self._ring.data)[start : start + g.item_bytes]

    def publish_slot(self, start: int, length: int | None, time_ns: int | None) -> None:
        """End the claim that began at `start`; publish nothing if `length` is None."""
        if length is None:
            self._abort(start)
        else:
            self._publish_blob(start, length, time_ns)


class BlobReader(ReaderEnd):
    """One reader of a ring of byte strings, registered in its table; see `RingReader`."""

    @classmethod
    def attach(
        cls,
        name: str,
        *,
        policy: Policy = "latest",
        reader: str = "",
        start: Start = "newest",
        waiter: Waiter | WaiterFactory | None = None,
        wait_for_s: float = 0.0,
    ) -> BlobReader:
        """Attach to a ring of blobs and register; arguments and errors as `RingReader.attach`."""
        if policy not in table.POLICIES:
            raise SpecError(f"policy={policy!r}: expected one of {', '.join(table.POLICIES)}")
        ring = Ring.attach(name, Role.READER, wait_for_s=wait_for_s)
        if not ring.spec.is_blob:
            ring.close()
            raise LayoutError(f"{name}: a ring of arrays; attach it with RingReader")
        try:
            return cls(ring, policy, reader, start, waiter)
        except BaseException:
            ring.close()
            raise

    def __init__(
        self, ring: Ring, policy: Policy, reader: str, start: Start, waiter: Waiter | WaiterFactory | None
    ) -> None:
        super().__init__(ring, policy, reader, start, waiter)
        self._memory = memoryview(ring.data)
        assert ring.lengths is not None  # noqa: S101 - a blob ring has them; this tells mypy
        self._lengths = array_of(ring.lengths, np.dtype("<u8"), 2 * ring.spec.geometry.times_slots)
        self._lap_times = array_of(ring.times, np.dtype("<i8"), 2 * ring.spec.geometry.times_slots)

    def close(self) -> None:
        """Leave the reader table and let go of the ring."""
        if self._is_open:
            del self._memory, self._lengths, self._lap_times
        super().close()

    @property
    def max_bytes(self) -> int:
        """Longest blob."""
        return self._ring.spec.geometry.item_bytes

    def read(self, timeout_s: float | None = None) -> Blob | None:
        """Copy the next blob by policy; None after `timeout_s`, or when the ring has ended and is drained."""
        return self._next(self._take_blob, timeout_s)

    def __iter__(self) -> Iterator[Blob]:
        """Yield blobs by policy until the ring has ended and is drained."""
        while (blob := self.read()) is not None:
            yield blob

    def latest(self) -> Blob:
        """Copy the newest blob. Never waits; counts nothing and moves nothing.

        Raises:
            RingEmptyError: nothing was published yet.
            OverrunError: the writer overwrote it during each of 3 copies.
        """
        return self.window(1)[0]

    def window(self, n: int) -> list[Blob]:
        """Copy the last `n` blobs, fewer if the ring holds fewer. Never waits; counts nothing and moves nothing."""
        self._check_open()
        first = count = 0
        for _ in range(_ATTEMPTS):
            published = self.published
            if published == self.first:
                raise RingEmptyError(f"{self.name}: nothing was published yet")
            count = min(n, published - min(self.oldest, published - 1))
            first = published - count
            spans = zip(
                self._blobs(first, count), range(first, first + count), self._blob_times(first, count), strict=True
            )
            blobs = [Blob(bytes(data), sequence, time_ns) for data, sequence, time_ns in spans]
            if not self._bad(first, count):
                return blobs
        raise OverrunError(
            f"{self.name}: {count} blobs from {first} were overwritten during each of {_ATTEMPTS} copies",
            first=first,
            lost=count,
        )

    def _blobs(self, first: int, count: int) -> list[memoryview]:
        """Called for `run.data` of a view: read-only views of blobs, their lengths clamped (and validated later)."""
        g = self._ring.spec.geometry
        moment = first % g.times_slots
        lengths = self._lengths[moment : moment + count].tolist()
        start = first % g.slots * g.stride
        starts = range(start, start + count * g.stride, g.stride)
        return [self._memory[s : s + min(length, g.item_bytes)] for s, length in zip(starts, lengths, strict=True)]

    def _blob_times(self, first: int, count: int) -> list[int]:
        moment = first % self._ring.spec.geometry.times_slots
        times: list[int] = self._lap_times[moment : moment + count].tolist()
        return times
