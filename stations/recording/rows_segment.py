"""One HDF5 file with the message rows of one key, readable by others while it is written (SWMR)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from . import layout, rows_layout
from .errors import SegmentFullError
from .growing_file import GrowingFile, extend
from .rows_layout import RowsHead, crc_of
from .rows_reader import RowsReader

PENDING_BYTES: Final = 8 * 1024 * 1024
"""So much is written before the next flush, whatever its time."""


class RowsFile(GrowingFile):
    """Writes the rows of one key; belongs to one thread.

    Args:
        path: the file to create; it must not exist.
        head: whose rows they are.

    Raises:
        DiskError: the file cannot be created.
    """

    def __init__(self, path: Path, head: RowsHead) -> None:
        self.head = head
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._values: list[bytes] = []
        self._pending = 0
        super().__init__(path, head.first)

    @property
    def end(self) -> int:
        """The sequence after the last row."""
        return self.head.first + self.items

    def append(self, sequence: int, time_ns: int, text: bytes, arrays: bytes) -> None:
        """Take the next row; it is in the file after the next flush.

        Raises:
            SegmentFullError: it does not follow the row before.
            DiskError: the disk did not take what waited.
        """
        if sequence != self.end:
            raise SegmentFullError(f"{self.path.name}: row {sequence} cannot follow row {self.end - 1}")
        crc = crc_of(sequence, time_ns, self.bytes, text, arrays)
        self._rows.append((sequence, time_ns, self.bytes, len(text), len(arrays), crc))
        self._values += (text, arrays) if arrays else (text,)
        self.began_ns = self.began_ns if self.items else time_ns
        size = len(text) + len(arrays)
        self.bytes += size
        self._pending += size
        self.items += 1
        if self._pending >= PENDING_BYTES:
            self.flush()

    def take_runs(self) -> list[tuple[int, int]]:
        """Return which sequences are stored; each row follows the one before."""
        return [(self.head.first, self.end)]

    def runs_from(self, sequence: int) -> list[tuple[int, int]]:
        """Return the runs of stored sequences from one on."""
        return [(sequence, self.end)]

    def _create(self) -> h5py.File:
        self.path.parent.mkdir(exist_ok=True)
        return super()._create()

    def _lay_out(self, file: h5py.File) -> None:
        self._table, self._value_bytes = create_datasets(file, self.head)

    def _write(self) -> None:
        # Values come before rows: whoever sees a row finds its bytes.
        if self._rows:
            extend(self._value_bytes, np.frombuffer(b"".join(self._values), np.uint8))
            self._value_bytes.id.flush()
            extend(self._table, np.array(self._rows, rows_layout.ROW))
            self._table.id.flush()
            self._rows.clear()
            self._values.clear()
            self._pending = 0

    def _kept(self) -> int:
        with RowsReader(self.path) as kept:
            return kept.end


def create_datasets(file: h5py.File, head: RowsHead) -> tuple[h5py.Dataset, h5py.Dataset]:
    """Write the attributes and create the datasets, empty; return `rows` and `values`."""
    file.attrs.update(head.to_attributes())
    group = file.create_group(head.group)
    table = group.create_dataset(
        rows_layout.ROWS,
        shape=(0,),
        maxshape=(None,),
        dtype=rows_layout.ROW,
        chunks=(rows_layout.ROWS_PER_CHUNK,),
    )
    values = group.create_dataset(
        rows_layout.VALUES,
        shape=(0,),
        maxshape=(None,),
        dtype=np.uint8,
        chunks=(rows_layout.BYTES_PER_CHUNK,),
        fill_time="never",
    )
    return table, values


def copy_rows(source: RowsReader, path: Path) -> None:
    """Write the whole rows of a file into a new one that opens plainly, and bring it to the disk."""
    with h5py.File(path, "w", libver=layout.LIBVER) as file:
        table, values = create_datasets(file, source.head)
        for piece in source.value_pieces():
            extend(values, piece)
        extend(table, source.rows)
        file.flush()
        os.fdatasync(file.id.get_vfd_handle())
    with path.open("rb") as closed:
        os.fsync(closed.fileno())
