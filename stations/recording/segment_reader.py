"""Reads one segment file: being written, closed, killed or recovered; trimmed to what is whole.

Chunks are read as they are and decoded by our own blosc, so no HDF5 plugin is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.codec import checksum, codec_of
from pipeline.errors import PipelineError
from pipeline.stream_spec import MAX_BLOCK_BYTES, dtype_of_json

from . import layout
from .errors import SegmentFormatError
from .layout import SegmentHead
from .live_file import open_live


@dataclass(frozen=True, slots=True)
class Chunk:
    """One block as it lies in the file."""

    first: int
    """Sequence of the first item."""
    times: NDArray[np.int64]
    """Time of each item, ns, shape (count,)."""
    payload: bytes
    """As it came over the wire."""
    codec: str
    crc: int
    """As it came over the wire, over times (irregular streams only) and payload."""
    is_row_whole: bool
    """The block's row is as it was written."""

    @property
    def count(self) -> int:
        """How many items are in it."""
        return len(self.times)


_PIECE_BYTES: Final = 65536
_SPARE_BYTES: Final = 1024 * 1024
"""Rows that a file may claim beyond its size: chunks of them are allocated later than they are counted."""
_UNREADABLE: Final = (OSError, LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError,
                      MemoryError)  # fmt: skip
"""What h5py and numpy raise for a structure that contradicts itself; our own errors of format are ValueErrors."""


class SegmentReader:
    """One segment file, open for reading; belongs to one thread.

    Args:
        path: the file.

    Raises:
        SegmentFormatError: not a segment of ours, or its HDF5 structure is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self.was_killed = open_file(path)
        try:
            self.head = SegmentHead.from_attributes(self._file.attrs)
            self.dtype = _check_sizes(self.head, self._file, path)
            self._data = self._file[layout.DATA]
            self.rows, self.trimmed, self.damage = self._whole_rows()
            self._columns = self._read_columns() if self.head.per_item else None
        except _UNREADABLE as error:
            self._file.close()
            raise SegmentFormatError(f"{path.name}: {error}") from error

    @cached_property
    def sequences(self) -> NDArray[np.uint64]:
        """The sequence of each item, shape (items,)."""
        return self._sequences() if self._columns is None else self._columns[0]

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """The time of each item, ns on the stream's clock, shape (items,)."""
        return self._times() if self._columns is None else self._columns[1]

    @property
    def items(self) -> int:
        """How many items are whole."""
        return int(self.rows["count"].sum())

    @property
    def end(self) -> int:
        """The sequence after the last whole item."""
        return int(self.rows["first_seq"][-1] + self.rows["count"][-1]) if len(self.rows) else self.head.first

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Where in the file the first item of each block is."""
        counts = self.rows["count"].astype(np.int64)
        return np.asarray(np.cumsum(counts) - counts, np.int64)

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs of sequences ``[first, end)`` that are whole."""
        if not len(self.rows):
            return []
        firsts = self.rows["first_seq"].astype(np.int64)
        ends = firsts + self.rows["count"]
        begins = np.flatnonzero(np.append(True, firsts[1:] != ends[:-1]))
        lasts = np.append(begins[1:], len(firsts)) - 1
        return list(zip(firsts[begins].tolist(), ends[lasts].tolist(), strict=True))

    def chunk(self, index: int) -> Chunk:
        """Read one block as it lies in the file.

        Raises:
            SegmentFormatError: the chunk is not where the file says.
        """
        row = self.rows[index]
        at, count = int(self.positions[index]), int(row["count"])
        _, payload = self.read_chunk(index)
        if self._columns is None:  # not from `times`: those of an hour of samples at 30 kHz are 0.9 GB
            times = row["time_ns"] + np.arange(count) * row["period_ns"]
        else:
            times = self._columns[1][at : at + count]
        return Chunk(
            int(row["first_seq"]),
            times,
            payload,
            row["codec"].decode(errors="replace"),
            int(row["crc"]),
            bool(self._intact[index]),
        )

    def read_chunk(self, index: int) -> tuple[int, bytes]:
        """Return the filter mask and the bytes of the chunk of a block."""
        at = int(self.positions[index])
        try:
            mask, payload = self._data.id.read_direct_chunk((at, *(0 for _ in self.head.shape)))
        except (OSError, RuntimeError, ValueError) as error:
            item = int(self.rows[index]["first_seq"])
            raise SegmentFormatError(f"{self.path.name}: item {item} cannot be read: {error}") from error
        return mask, payload

    def decode(self, chunk: Chunk, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the items of a chunk, shape (count, *shape).

        Args:
            chunk: of this file.
            out: where a whole block is decoded to, shape (block_items, *shape), contiguous; a new array if None.

        Raises:
            SegmentFormatError: its bytes are not what the codec makes.
        """
        items = np.empty((self.head.block_items, *self.head.shape), self.dtype) if out is None else out
        try:
            codec_of(chunk.codec).decode_into(chunk.payload, items.reshape(-1).view(np.uint8))
        except PipelineError as error:
            raise SegmentFormatError(f"{self.path.name}: item {chunk.first}: {error}") from error
        return items[: chunk.count]

    def is_whole(self, chunk: Chunk) -> bool:
        """Whether times and payload are bit for bit what came over the wire, and the row is as it was written."""
        times = b"" if self.head.regular else chunk.times.astype("<i8").tobytes()
        return chunk.is_row_whole and checksum(times, chunk.payload) == chunk.crc

    def __iter__(self) -> Iterator[Chunk]:
        return (self.chunk(index) for index in range(len(self.rows)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        killed = " writer killed" if self.was_killed else ""
        return f"<SegmentReader {self.path.name} [{self.head.first}, {self.end}){killed}>"

    def _read_columns(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        items = self.items
        sequences, times = (self._file[name][:items] for name in (layout.SEQ, layout.TIME))
        return np.asarray(sequences, np.uint64), np.asarray(times, np.int64)

    def _sequences(self) -> NDArray[np.uint64]:
        counts, within = self._within()
        return np.asarray(np.repeat(self.rows["first_seq"], counts) + within.astype(np.uint64), np.uint64)

    def _times(self) -> NDArray[np.int64]:
        counts, within = self._within()
        times = np.repeat(self.rows["time_ns"], counts) + within * np.repeat(self.rows["period_ns"], counts)
        return np.asarray(times, np.int64)

    def _within(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many items each block has, and of each item which of its block it is."""
        counts = self.rows["count"].astype(np.int64)
        return counts, np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)

    def _whole_rows(self) -> tuple[NDArray[np.void], int, str]:
        """Return the block rows whose items are in every dataset, how many items were trimmed, and what is damaged."""
        names = [layout.DATA, *((layout.SEQ, layout.TIME) if self.head.per_item else ())]
        lengths = [self._file[name].shape[0] for name in names]
        rows = self._file[layout.BLOCKS][:]
        is_checked = rows.dtype == layout.BLOCK_ROW
        rows = rows if is_checked else layout.checked(rows)
        self._intact = rows["check"] == layout.checks_of(rows)
        ends = np.cumsum(rows["count"].astype(np.int64))
        if self.head.per_item:
            self._repair(rows)
        firsts, counts = rows["first_seq"].astype(np.int64), rows["count"].astype(np.int64)
        expected = np.concatenate([[self.head.first], (firsts + counts)[:-1]])[: len(rows)]
        skipped = firsts - expected
        follows = skipped == 0
        if self.head.per_item:
            follows = skipped >= 0
        elif is_checked:  # files without checks have no gaps
            follows |= (skipped > 0) & self._may_skip(rows)
        follows[:1] &= skipped[:1] == 0
        whole = (rows["count"] > 0) & (rows["count"] <= self.head.block_items) & follows & (ends <= min(lengths))
        keep = len(rows) if whole.all() else int(np.argmin(whole))
        items = int(ends[keep - 1]) if keep else 0
        trimmed = max(lengths) - items
        # Only a killed writer leaves rows that are still empty, or datasets of different lengths.
        wrong = keep < len(rows) and any(rows[keep].tobytes()) and not (follows[keep] and self._intact[keep])
        damage = ""
        if wrong:
            item = int(self._file[layout.SEQ][items] if self.head.per_item else expected[keep])
            damage = f"row {keep} of {layout.BLOCKS!r} (item {item}) is damaged or does not follow the one before"
        elif trimmed and not self.was_killed:
            damage = f"{trimmed} items are not in every dataset, though the file was closed"
        return rows[:keep], trimmed, damage

    def _may_skip(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether each row may begin after a gap: it is as it was written, and the one before is of a whole block."""
        is_whole = rows["count"] == self.head.block_items
        return np.asarray(self._intact & np.concatenate([[True], is_whole[:-1]])[: len(rows)], np.bool_)

    def _repair(self, rows: NDArray[np.void]) -> None:
        """Take what a damaged row says of its sequence from `seq`, which says the same once more."""
        counts = rows["count"].astype(np.int64)
        sequences, at = self._file[layout.SEQ], np.cumsum(counts) - counts
        for row in np.flatnonzero(~self._intact & (at < sequences.shape[0])).tolist():
            rows["first_seq"][row] = sequences[int(at[row])]


def open_file(path: Path) -> tuple[h5py.File, bool]:
    """Open plainly, or as a reader beside a writer that lives or was killed; return the file and which it was."""
    try:
        return h5py.File(path, "r"), False
    except OSError as plainly:
        if is_empty(path):
            raise SegmentFormatError(f"{path.name}: is empty: power was lost before its first sync") from None
        try:
            return open_live(path), True
        except (OSError, ValueError):
            raise SegmentFormatError(f"{path.name}: cannot be opened: {plainly}") from plainly


def is_empty(path: Path) -> bool:
    """Whether a file has nothing but its name and zeros: it was begun, and power was lost before its first sync.

    HDF5 sets a file's size before it writes; on ext4 the size may be on the disk before the bytes are.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return all(piece.count(0) == len(piece) for piece in iter(lambda: file.read(_PIECE_BYTES), b""))


def _check_sizes(head: SegmentHead, file: h5py.File, path: Path) -> np.dtype[Any]:
    """Refuse what would take more memory than any segment of ours, before anything is read; return the items' dtype."""
    dtype = dtype_of_json(head.dtype)
    block_bytes = head.block_items * math.prod(head.shape) * dtype.itemsize
    if not 0 < block_bytes <= MAX_BLOCK_BYTES:
        raise SegmentFormatError(f"a block of {head.block_items} items of shape {head.shape}, dtype {dtype}")
    rows = file[layout.BLOCKS]
    if rows.dtype not in (layout.BLOCK_ROW, layout.UNCHECKED_ROW) or rows.nbytes > path.stat().st_size + _SPARE_BYTES:
        raise SegmentFormatError(f"{layout.BLOCKS!r} claims {rows.nbytes} bytes of {rows.dtype}")
    return dtype
