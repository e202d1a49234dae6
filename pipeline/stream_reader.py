"""Reads a stream on the Terminal: the items of the blocks in its blob ring, by the same methods as `shm.RingReader`.

Nothing is decoded that nobody asks for.  A block is copied out of the ring (and found whole) before it is decoded, for
a codec that is fed changing bytes would write where it should not.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from shm import BlobReader, Item, OverrunError, RingEmptyError, Run

from .block import Block, BlockHeader, header_of_blob
from .errors import BlockError
from .stream_spec import StreamSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shm import Policy, Waiter, WaiterFactory

_LOOK_BACK: Final = 8
"""Blocks without items (ENDs, gaps) that are passed over in search of the newest item."""
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class StreamReaderStatistics:
    """What one reader has seen, in items."""

    position: int
    taken: int
    skipped: int
    lapped: int
    lost: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Decoded:
    block: Block
    items: NDArray[Any]
    times: NDArray[np.int64]


class StreamReader:
    """One reader of a stream; serves one thread.

        with StreamReader.attach("rig/T/pilot1.cam0") as stream:
            for item in stream:
                show(item.data)

    Iteration ends with the run (its END block), or when the ring ends.  Sequences are those of the Pilot's ring.

    Attributes:
        lapped: items that this reader missed because the ring went round.
        skipped: items passed over by policy `latest`.
        taken: items read.
        lost: items that never came, by reason, as the Pilot said.
    """

    def __init__(self, blobs: BlobReader) -> None:
        self._blobs = blobs
        self.spec = StreamSpec.from_meta(dict(blobs.meta))
        self.taken = self.skipped = self.lapped = 0
        self.lost: dict[str, int] = {}
        self._current: _Decoded | None = None
        self._offset = 0
        self._position: tuple[int, int] | None = None
        self._has_ended = False
        self._cache: OrderedDict[int, _Decoded] = OrderedDict()

    @classmethod
    def attach(
        cls,
        name: str,
        *,
        policy: Policy = "latest",
        reader: str = "",
        start: Literal["newest", "oldest"] | int = "newest",
        waiter: Waiter | WaiterFactory | None = None,
        wait_for_s: float = 0.0,
    ) -> StreamReader:
        """Attach to the Terminal's ring of a stream; arguments as `shm.RingReader.attach`, `start` counts blocks.

        Raises:
            SegmentNotFoundError: the stream has not arrived here yet.
            BlockError: the ring does not hold blocks of a stream.
        """
        blobs = BlobReader.attach(name, policy=policy, reader=reader, start=start, waiter=waiter, wait_for_s=wait_for_s)
        try:
            return cls(blobs)
        except BaseException:
            blobs.close()
            raise

    @property
    def blocks(self) -> BlobReader:
        """The ring itself, for those who want blocks as they came."""
        return self._blobs

    @property
    def name(self) -> str:
        """Full name of the ring."""
        return self._blobs.name

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self.spec.stream

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of one item."""
        return self.spec.item_dtype

    @property
    def meta(self) -> dict[str, Any]:
        """What the source said about the stream beside the spec."""
        return self.spec.meta

    @property
    def birth(self) -> int:
        """Generation of the newest block that was read."""
        return self._position[0] if self._position is not None else self.spec.birth

    @property
    def position(self) -> int:
        """Sequence of the next item; 0 before the first was read."""
        return self._position[1] if self._position is not None else 0

    @property
    def published(self) -> int:
        """Sequence after the newest item in the ring; 0 if there is none."""
        newest = self._newest_header()
        return newest.end if newest is not None else 0

    @property
    def lag(self) -> int:
        """Items in the ring that were not read yet; exact only within one birth."""
        return max(0, self.published - self.position) if self._position is not None else 0

    @property
    def ended(self) -> bool:
        """Whether the run in the ring is over, or the ring is."""
        if self._blobs.ended:
            return True
        newest = self._newest_header()
        return newest is not None and newest.is_end

    @property
    def has_ended(self) -> bool:
        """The last read brought nothing because it met the end of a run, where iteration ends."""
        return self._has_ended

    @property
    def is_superseded(self) -> bool:
        """The name leads to another ring, or nowhere: close and attach anew."""
        return self._blobs.is_superseded

    @property
    def writer_alive(self) -> bool:
        """Whether an ingest writes the ring."""
        return self._blobs.writer_alive

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read or the ring has ended; False after `timeout_s`."""
        return self._has_rest() or self._blobs.wait(timeout_s)

    def read(self, timeout_s: float | None = None) -> Item | None:
        """Return the next item by policy; None after `timeout_s`, or when the run or the ring has ended."""
        if not self._has_rest() and not self._advance(timeout_s):
            return None
        current, i = self._current, self._offset
        if current is None:
            return None
        self._offset += 1
        self._step(current, 1)
        return Item(current.items[i], current.block.header.first + i, int(current.times[i]))

    def __iter__(self) -> Iterator[Item]:
        """Yield items until the run or the ring has ended."""
        while (item := self.read()) is not None:
            yield item

    def read_into(self, out: NDArray[Any], times: NDArray[np.int64] | None = None) -> int:
        """Copy what there is, at most ``len(out)`` items (k, *shape); never waits.

        Returns:
            How many; the last of them is ``position - 1``.  They follow each other without a hole.
        """
        count = 0
        while count < len(out) and (self._has_rest() or self._advance(0.0)):
            current = self._current
            if current is None or (count and current.block.header.first + self._offset != self.position):
                break
            n = min(len(out) - count, len(current.items) - self._offset)
            out[count : count + n] = current.items[self._offset : self._offset + n]
            if times is not None:
                times[count : count + n] = current.times[self._offset : self._offset + n]
            self._offset += n
            self._step(current, n)
            count += n
        return count

    def latest(self, out: NDArray[Any] | None = None) -> Item:
        """Copy the newest item.  Never waits; counts nothing and moves nothing.

        Raises:
            RingEmptyError: no item has arrived yet.
            OverrunError: the ring went round during each of 3 copies.
        """
        newest = self._newest()
        self._trim(1)  # images are large, and who asks for the newest does not ask for those before it
        data = newest.items[-1]
        if out is not None:
            out[...] = data
            data = out
        return Item(data, newest.block.header.end - 1, int(newest.times[-1]))

    def window(self, n: int) -> Run:
        """Copy the last `n` items that follow each other without a hole, fewer if there are fewer.

        Never waits; counts nothing and moves nothing.

        Raises:
            RingEmptyError: no item has arrived yet.
        """
        newest, at = self._newest_at()
        parts, have = [newest], len(newest.items)
        while have < n and at > 0:
            at -= 1
            try:
                earlier = self._decoded_at(at)
            except (OverrunError, RingEmptyError):
                break
            header = earlier.block.header
            if header.birth != newest.block.header.birth or header.end != parts[-1].block.header.first:
                break
            if header.count:
                parts.append(earlier)
                have += header.count
        parts.reverse()
        self._trim(2 * len(parts) + _LOOK_BACK)
        data = np.concatenate([part.items for part in parts])[-n:]
        times = np.concatenate([part.times for part in parts])[-n:]
        return Run(data, newest.block.header.end - len(data), len(data), times)

    def statistics(self) -> StreamReaderStatistics:
        """Return this reader's counts, in items."""
        return StreamReaderStatistics(self.position, self.taken, self.skipped, self.lapped, dict(self.lost))

    def close(self) -> None:
        """Let go of the ring."""
        self._blobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StreamReader {self.name} seq={self.position} lapped={self.lapped} lost={sum(self.lost.values())}>"

    def _has_rest(self) -> bool:
        return self._current is not None and self._offset < len(self._current.items)

    def _step(self, current: _Decoded, n: int) -> None:
        self.taken += n
        self._position = (current.block.header.birth, current.block.header.first + self._offset)

    def _advance(self, timeout_s: float | None) -> bool:
        """Decode the next block that has items; False if none came in time, or the run ended."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._has_ended = False
        while True:
            left = None if timeout_s is None else max(0.0, deadline - time.monotonic())
            skipped = self._blobs.skipped
            blob = self._blobs.read(left)
            if blob is None:
                return False
            block = Block.from_blob(blob.data)
            self._account(block, was_skipped=self._blobs.skipped > skipped)
            if block.header.is_end:
                self._has_ended = True
                return False
            if block.header.count:
                self._take(block)
                return True

    def _take(self, block: Block) -> None:
        self._current, self._offset = _Decoded(block, block.decode(), block.item_times()), 0

    def _account(self, block: Block, *, was_skipped: bool) -> None:
        header = block.header
        if self._position is not None and self._position[0] == header.birth:
            missed = header.first - header.lost - self._position[1]
            if missed > 0 and was_skipped:
                self.skipped += missed
            elif missed > 0:
                self.lapped += missed
        if header.lost:
            self.lost[header.lost_reason] = self.lost.get(header.lost_reason, 0) + header.lost
        self._position = (header.birth, header.first)

    def _newest_header(self) -> BlockHeader | None:
        """Return the header of the newest block, without its payload; None if there is none."""
        for _ in range(_ATTEMPTS):
            at = self._blobs.published - 1
            if at < self._blobs.first:
                return None
            known = self._cache.get(at)
            if known is not None:
                return known.block.header
            try:
                with self._blobs.view(1, at=at) as run:
                    header = header_of_blob(run.data[0])
            except (OverrunError, BlockError):  # it was changing
                continue
            return header
        return None

    def _newest(self) -> _Decoded:
        return self._newest_at()[0]

    def _newest_at(self) -> tuple[_Decoded, int]:
        """Return the newest block with items, and its place in the ring."""
        for _ in range(_ATTEMPTS):
            published = self._blobs.published
            for at in range(published - 1, max(published - 1 - _LOOK_BACK, self._blobs.oldest - 1), -1):
                try:
                    decoded = self._decoded_at(at)
                except OverrunError:
                    break
                if decoded.block.header.count:
                    return decoded, at
            else:
                break
        raise RingEmptyError(f"{self.name}: no item has arrived yet")

    def _decoded_at(self, at: int) -> _Decoded:
        known = self._cache.get(at)
        if known is None:
            block = self._block_at(at)
            known = self._cache[at] = _Decoded(block, block.decode(), block.item_times())
            if len(self._cache) > self._blobs.slots:
                self._cache.popitem(last=False)
        return known

    def _block_at(self, at: int) -> Block:
        with self._blobs.view(1, at=at) as run:
            data = bytes(run.data[0])
        return Block.from_blob(data)

    def _trim(self, most: int) -> None:
        while len(self._cache) > most:
            self._cache.popitem(last=False)
