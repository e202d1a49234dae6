"""One HDF5 file with one segment of one stream, readable by others while it is written (SWMR).

Blocks go in exactly as they came over the wire, one block one chunk: compressed once, on the Pilot, never again.
Rows of the small tables are kept in memory until the next flush; a crash therefore leaves `data` longer than the
tables, and readers trim to the shortest.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pipeline.block import Block
from pipeline.stream_spec import dtype_of_json

from . import layout
from .errors import DiskError, SegmentFullError
from .growing_file import HDF5_ERRORS, GrowingFile, extend, why_of
from .layout import SegmentHead
from .ranges import Ranges
from .segment_reader import SegmentReader

RAW: Final = "raw"


class SegmentFile(GrowingFile):
    """Writes one segment; belongs to one thread.

    A short block is the last one: HDF5 chunks lie on a grid.  Whole blocks may be missing between others: each says
    its first sequence.

    Args:
        path: the file to create; it must not exist.
        head: what is known of the stream.

    Raises:
        DiskError: the file cannot be created.
    """

    def __init__(self, path: Path, head: SegmentHead) -> None:
        self.head = head
        self._stored = Ranges()
        self._told = 0
        """How many runs of it were taken."""
        self._rows: list[tuple[Any, ...]] = []
        self._sequences: list[np.ndarray[Any, np.dtype[np.uint64]]] = []
        self._times: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        super().__init__(path, head.first)

    @property
    def end(self) -> int:
        """The sequence after the last stored item."""
        return self.head.first if self._stored.end is None else self._stored.end

    def can_follow(self, first: int) -> bool:
        """Tell whether a block that begins at a sequence may be the next."""
        return not self.is_full and (first == self.end or (first > self.end and self.items > 0))

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
        self._stored.add(header.first, header.end)
        self.began_ns = self.began_ns if self.items else header.time_ns
        self.bytes += header.payload_bytes
        self.items += header.count
        self.is_full = header.count < self.head.block_items

    def take_runs(self) -> list[tuple[int, int]]:
        """Return the runs of sequences that were stored since the last call, and the one before them again."""
        runs = self._stored.runs(max(0, self._told - 1))
        self._told = self._stored.run_count
        return runs

    def runs_from(self, sequence: int) -> list[tuple[int, int]]:
        """Return the runs of stored sequences from one on."""
        return [(max(first, sequence), end) for first, end in self._stored if end > sequence]

    def _lay_out(self, file: h5py.File) -> None:
        self._data, tables = create_datasets(file, self.head)
        self._tables = {table.name.removeprefix("/"): table for table in tables}
        file.attrs.update(self.head.to_attributes())

    def _write(self) -> None:
        # The tables come before `data`: whoever sees an item in the longest of them finds it whole in all of them or
        # trims it away.
        if self._rows:
            self._write_rows()
        for dataset in self._tables.values():
            dataset.id.flush()
        self._data.id.flush()

    def _kept(self) -> int:
        with SegmentReader(self.path) as kept:
            return kept.end

    def _write_rows(self) -> None:
        if self.head.per_item:
            extend(self._tables[layout.SEQ], np.concatenate(self._sequences))
            extend(self._tables[layout.TIME], np.concatenate(self._times))
            self._sequences.clear()
            self._times.clear()
        extend(self._tables[layout.BLOCKS], layout.checked(np.array(self._rows, layout.UNCHECKED_ROW)))
        self._rows.clear()


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
