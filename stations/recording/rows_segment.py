"""One HDF5 file with the message rows of one key, readable by others while it is written (SWMR)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from . import layout, rows_layout
from .errors import DiskError, SegmentFormatError, SegmentFullError
from .rows_layout import RowsHead, crc_of
from .rows_reader import RowsReader
from .segment import HDF5_ERRORS, HIDDEN, let_go, why_of

PENDING_BYTES: Final = 8 * 1024 * 1024
"""So much is written before the next flush, whatever its time."""


class RowsFile:
    """Writes the rows of one key; belongs to one thread.

    Args:
        path: the file to create; it must not exist.
        head: whose rows they are.

    Raises:
        DiskError: the file cannot be created.
    """

    def __init__(self, path: Path, head: RowsHead) -> None:
        self.path = path
        self.head = head
        self.items = 0
        self.is_full = False
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._values: list[bytes] = []
        self._pending = 0
        self.bytes = 0
        self.began_ns = 0
        try:
            self._create()
        except HDF5_ERRORS as error:
            path.with_name(HIDDEN.format(path.name)).unlink(missing_ok=True)
            raise DiskError(f"{path}: cannot create the file: {why_of(error)}") from error
        # A descriptor of our own: it outlives the file object, so that a worker can sync what was closed.
        self.fd = os.dup(self._file.id.get_vfd_handle())

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

    def flush(self) -> int:
        """Make every row visible to other readers; return the sequence after the last.

        Values come before rows: whoever sees a row finds its bytes.

        Raises:
            DiskError: the disk did not take it.
        """
        try:
            if self._rows:
                extend(self._value_bytes, np.frombuffer(b"".join(self._values), np.uint8))
                self._value_bytes.id.flush()
                extend(self._table, np.array(self._rows, rows_layout.ROW))
                self._table.id.flush()
                self._rows.clear()
                self._values.clear()
                self._pending = 0
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
        """Close what can be closed after the disk failed; return the sequence after the last row the file kept."""
        let_go(self._file)
        try:
            with RowsReader(self.path) as kept:
                return kept.end
        except SegmentFormatError:
            return self.head.first

    def __repr__(self) -> str:
        state = "open" if self._file else "closed"
        return f"<RowsFile {self.path.name} [{self.head.first}, {self.end}) {state}>"

    def _create(self) -> None:
        # A file appears under its name when it can be read: whoever is killed before leaves a hidden one.
        if self.path.exists():
            raise FileExistsError(f"exists already: {self.path}")
        self.path.parent.mkdir(exist_ok=True)
        hidden = self.path.with_name(HIDDEN.format(self.path.name))
        self._file = h5py.File(hidden, "w", libver=layout.LIBVER)
        self._table, self._value_bytes = create_datasets(self._file, self.head)
        self._file.swmr_mode = True
        hidden.rename(self.path)


def extend(dataset: h5py.Dataset, rows: np.ndarray[Any, Any]) -> None:
    """Append to a dataset of one dimension."""
    length = dataset.shape[0]
    dataset.resize(length + len(rows), axis=0)
    dataset[length:] = rows


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
