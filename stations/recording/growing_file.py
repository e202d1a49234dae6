"""The life of an HDF5 file that others read while it grows (SWMR): hidden until it is readable, closed, or let go."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from . import layout
from .errors import DiskError, SegmentFormatError

HDF5_ERRORS: Final = (OSError, RuntimeError, ValueError)
"""What h5py raises when HDF5 fails, by the kind of call."""
HIDDEN: Final = ".{}.new"
"""Name of a file that is not ready yet."""


class GrowingFile(ABC):
    """One file that is written; belongs to one thread.  It is created and never reopened for writing.

    Args:
        path: the file to create; it must not exist.
        first: sequence of its first item.

    Raises:
        DiskError: the file cannot be created.
    """

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        self.items = 0
        self.bytes = 0
        """Of what was stored, as it was stored."""
        self.began_ns = 0
        """Time of the first item."""
        self.is_full = False
        self._first = first
        try:
            self._file = self._create()
        except HDF5_ERRORS as error:
            path.with_name(HIDDEN.format(path.name)).unlink(missing_ok=True)
            raise DiskError(f"{path}: cannot create the file: {why_of(error)}") from error
        # A descriptor of our own: it outlives the file object, so that a worker can sync what was closed.
        self.fd = os.dup(self._file.id.get_vfd_handle())

    @property
    @abstractmethod
    def end(self) -> int:
        """The sequence after the last stored item."""

    def flush(self) -> int:
        """Make everything stored visible to other readers; return the sequence after it.

        Raises:
            DiskError: the disk did not take it.
        """
        try:
            self._write()
        except HDF5_ERRORS as error:
            raise DiskError(f"{self.path}: flush failed: {why_of(error)}") from error
        return self.end

    def close(self) -> None:
        """Flush and close; the file then opens plainly.  `fd` stays open for a last sync.

        Raises:
            DiskError: the disk did not take it.
        """
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
            return self._kept()
        except SegmentFormatError:
            return self._first

    def __repr__(self) -> str:
        state = "open" if self._file else "closed"
        return f"<{type(self).__name__} {self.path.name} [{self._first}, {self.end}) {state}>"

    @abstractmethod
    def _lay_out(self, file: h5py.File) -> None:
        """Create attributes and datasets."""

    @abstractmethod
    def _write(self) -> None:
        """Write and flush in an order in which no reader sees less than what it is led to."""

    @abstractmethod
    def _kept(self) -> int:
        """Return the sequence after the last item that a reader finds whole."""

    def _create(self) -> h5py.File:
        # A file appears under its name when it can be read: whoever is killed before leaves a hidden one.
        if self.path.exists():
            raise FileExistsError(f"exists already: {self.path}")
        hidden = self.path.with_name(HIDDEN.format(self.path.name))
        file = h5py.File(hidden, "w", libver=layout.LIBVER)
        self._lay_out(file)
        file.swmr_mode = True
        hidden.rename(self.path)
        return file


def extend(dataset: h5py.Dataset, rows: np.ndarray[Any, Any]) -> None:
    """Append to a dataset of one dimension."""
    length = dataset.shape[0]
    dataset.resize(length + len(rows), axis=0)
    dataset[length:] = rows


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


def why_of(error: BaseException) -> str:
    """Return HDF5's many lines as the system's one."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error).partition("\n")[0]
