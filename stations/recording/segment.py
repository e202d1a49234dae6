"""One HDF5 file with one segment of one stream, readable by others while it is written (SWMR).

Blocks go in exactly as they came over the wire, one block one chunk: compressed once, on the Pilot, never again.
Rows of the small tables are kept in memory until the next flush; a crash therefore leaves `data` longer than the
tables, and readers trim to the shortest.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pipeline.block import Block
from pipeline.stream_spec import dtype_of_json

from . import layout
from .errors import DiskError, SegmentFormatError, SegmentFullError
from .layout import SegmentHead
from .segment_reader import SegmentReader

RAW: Final = "raw"
HDF5_ERRORS: Final = (OSError, RuntimeError, ValueError)
"""What h5py raises when HDF5 fails, by the kind of call."""
HIDDEN: Final = ".{}.new"
"""Name of a file that is not ready yet."""


class SegmentFile:
    """Writes one segment; belongs to one thread.

    The file is created and never reopened for writing.  A short block is the last one: HDF5 chunks lie on a grid.
    Where each item has its sequence beside it, blocks may be missing between others; elsewhere each follows the last.

    Args:
        path: the file to create; it must not exist.
        head: what is known of the stream.

    Raises:
        DiskError: the file cannot be created.
    """

    def __init__(self, path: Path, head: SegmentHead) -> None:
        self.path = path
        self.head = head
        self.items = 0
        self.bytes = 0
        self.began_ns = 0
        self.is_full = False
        self.end = head.first
        """The sequence after the last stored item."""
        self._runs: list[tuple[int, int]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._sequences: list[np.ndarray[Any, np.dtype[np.uint64]]] = []
        self._times: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        try:
            self._create()
        except HDF5_ERRORS as error:
            path.with_name(HIDDEN.format(path.name)).unlink(missing_ok=True)
            raise DiskError(f"{path}: cannot create the segment: {why_of(error)}") from error
        # A descriptor of our own: it outlives the file object, so that a worker can sync what was closed.
        self.fd = os.dup(self._file.id.get_vfd_handle())

    def can_follow(self, first: int) -> bool:
        """Tell whether a block that begins at a sequence may be the next."""
        return not self.is_full and (first == self.end or (self.head.per_item and first > self.end))

    def append(self, block: Block) -> None:
        """Store one block as the next chunk.

        Args:
            block: may follow; its payload decodes to `block_items` items, of which `count` are real.

        Raises:
            SegmentFullError: it may not.
            DiskError: the disk did not take it.
        """
        header = block.header
        if not self.can_follow(header.first):
            raise SegmentFullError(f"{self.path.name}: block {header.first} cannot follow item {self.end}")
        self._data.id.set_extent((self.items + header.count, *self.head.shape))
        mask = layout.FILTER_SKIPPED if header.codec == RAW else layout.AS_WRITTEN
        try:
            self._data.id.write_direct_chunk((self.items, *(0 for _ in self.head.shape)), block.payload, mask)
        except HDF5_ERRORS as error:
            raise DiskError(f"{self.path}: block {header.first} not written: {why_of(error)}") from error
        self._rows.append(
            (
                header.first,
                header.time_ns,
                header.period_ns,
                header.count,
                header.crc,
                header.payload_bytes,
                header.codec.encode(),
            )
        )
        if self.head.per_item:
            self._times.append(block.item_times())
            self._sequences.append(np.arange(header.first, header.end, dtype="<u8"))
        self._note(header.first, header.end)
        self.began_ns = self.began_ns if self.items else header.time_ns
        self.bytes += header.payload_bytes
        self.items += header.count
        self.end = header.end
        self.is_full = header.count < self.head.block_items

    def take_runs(self) -> list[tuple[int, int]]:
        """Return the runs of sequences that were stored since the last call, and the one before them again."""
        runs, self._runs = self._runs, self._runs[-1:]
        return runs

    def flush(self) -> int:
        """Make everything appended visible to other readers; return the sequence after it.

        The tables come before `data`: whoever sees an item in the longest of them finds it whole in all of them or
        trims it away.

        Raises:
            DiskError: the disk did not take it.
        """
        try:
            if self._rows:
                self._write_rows()
            for dataset in self._tables.values():
                dataset.id.flush()
            self._data.id.flush()
        except HDF5_ERRORS as error:
            raise DiskError(f"{self.path}: flush failed: {why_of(error)}") from error
        return self.end

    def close(self) -> None:
        """Flush and close; the file then opens plainly.  `fd` stays open for a last sync."""
        if self._file:
            self.flush()
            try:
                self._file.flush()  # what fails, fails here, where it can be let go
                self._file.close()
            except HDF5_ERRORS as error:
                raise DiskError(f"{self.path}: close failed: {why_of(error)}") from error

    def abandon(self) -> int:
        """Close what can be closed after the disk failed; return the sequence after the last item the file kept."""
        let_go(self._file)
        self.is_full = True
        try:
            with SegmentReader(self.path) as kept:
                return kept.end
        except SegmentFormatError:
            return self.head.first

    def __repr__(self) -> str:
        state = "open" if self._file else "closed"
        return f"<SegmentFile {self.path.name} [{self.head.first}, {self.end}) {state}>"

    def _create(self) -> None:
        # A file appears under its name when it can be read: whoever is killed before leaves a hidden one.
        if self.path.exists():
            raise FileExistsError(f"exists already: {self.path}")
        hidden = self.path.with_name(HIDDEN.format(self.path.name))
        self._file = h5py.File(hidden, "w", libver=layout.LIBVER)
        self._data, tables = create_datasets(self._file, self.head)
        self._tables = {table.name.removeprefix("/"): table for table in tables}
        self._file.attrs.update(self.head.to_attributes())
        self._file.swmr_mode = True
        hidden.rename(self.path)

    def _note(self, first: int, end: int) -> None:
        if self._runs and self._runs[-1][1] == first:
            self._runs[-1] = (self._runs[-1][0], end)
        else:
            self._runs.append((first, end))

    def _write_rows(self) -> None:
        if self.head.per_item:
            _extend(self._tables[layout.SEQ], np.concatenate(self._sequences))
            _extend(self._tables[layout.TIME], np.concatenate(self._times))
            self._sequences.clear()
            self._times.clear()
        _extend(self._tables[layout.BLOCKS], layout.checked(np.array(self._rows, layout.UNCHECKED_ROW)))
        self._rows.clear()


def let_go(file: h5py.File) -> None:
    """Close a file whose disk failed as it is on the disk, as a killed process leaves it.

    HDF5 (2.0) crashes the process after a close that failed.  Its last words therefore go into memory.
    """
    with contextlib.suppress(*HDF5_ERRORS):
        handle = file.id.get_vfd_handle()
        memory = os.memfd_create("let-go")
        os.dup2(memory, handle, inheritable=False)
        os.close(memory)
        file.close()


def _extend(dataset: h5py.Dataset, rows: np.ndarray[Any, Any]) -> None:
    length = dataset.shape[0]
    dataset.resize(length + len(rows), axis=0)
    dataset[length:] = rows


def create_datasets(file: h5py.File, head: SegmentHead) -> tuple[h5py.Dataset, list[h5py.Dataset]]:
    """Create a segment's datasets, empty; return `data` and the tables in the order of flushing."""
    dtype = dtype_of_json(head.dtype)
    chunk = (head.block_items, *head.shape)
    data = file.create_dataset(
        layout.DATA,
        shape=(0, *head.shape),
        maxshape=(None, *head.shape),
        dtype=dtype,
        chunks=chunk,
        compression=layout.BLOSC_FILTER,
        compression_opts=layout.blosc_options(dtype, math.prod(chunk) * dtype.itemsize),
        allow_unknown_filter=True,  # optional: neither writing nor flushing needs the plugin
        fill_time="never",
    )
    tables = [(layout.BLOCKS, layout.BLOCK_ROW, layout.BLOCK_ROWS_PER_CHUNK)]
    if head.per_item:
        for name, kind in ((layout.TIME, "<i8"), (layout.SEQ, "<u8")):
            tables.insert(0, (name, np.dtype(kind), layout.ITEMS_PER_CHUNK))
    return data, [
        file.create_dataset(name, shape=(0,), maxshape=(None,), dtype=row, chunks=(rows,)) for name, row, rows in tables
    ]


def why_of(error: BaseException) -> str:
    """Return HDF5's many lines as the system's one."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error).partition("\n")[0]
