"""Makes segment files whose writer was killed open plainly in any HDF5 tool.

The file is written anew beside the old one, chunks byte for byte as they are, and takes its place only when it is on
the disk: whoever is interrupted has the old file still.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py

from stations.folders import sync_folder

from . import layout
from .errors import RecordingFolderError, SegmentFormatError
from .growing_file import HIDDEN
from .reserve import FILE_NAME as RESERVE
from .resume import open_file_of, rows_of, segments_of
from .rows_reader import RowsReader
from .rows_segment import copy_rows
from .segment import create_datasets
from .segment_reader import SegmentReader, is_empty


@dataclass(frozen=True, slots=True)
class RecoveredFile:
    """What became of one file."""

    file: str
    outcome: str
    """``plain`` (was already), ``recovered``, ``removed`` (empty: power was lost before a sync) or ``unreadable``."""
    items: int = 0
    trimmed: int = 0
    """Items that were not in every dataset."""
    error: str = ""

    def __str__(self) -> str:
        trimmed = f", {self.trimmed} not whole and trimmed" if self.trimmed else ""
        return f"{self.file}: {self.outcome}, {self.items} items{trimmed}{self.error and ': ' + self.error}"


@dataclass(slots=True)
class RecoverReport:
    """What became of every file."""

    files: list[RecoveredFile] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every file opens plainly now."""
        return all(file.outcome != "unreadable" for file in self.files)

    def lines(self) -> list[str]:
        """Return one line a file."""
        return [str(file) for file in self.files]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "ok": self.ok}


def recover(path: Path) -> RecoverReport:
    """Make the files of a recording open plainly; those that do already are left alone.

    Nobody may be recording there: a file in use would be replaced under its writer.

    Args:
        path: a recording's folder, or one segment file.

    Raises:
        RecordingFolderError: nothing to recover is there, or the disk has no room for the copy.
    """
    files = [path] if path.is_file() else [file for files in _segments(path) for file in files]
    if not files:
        raise RecordingFolderError(f"{path}: holds no segment file")
    if path.is_dir():
        _tidy(path)
    try:
        return RecoverReport([_recover_file(file) for file in files])
    except OSError as error:
        raise RecordingFolderError(f"{path}: cannot be rewritten: {error}") from error


def _tidy(path: Path) -> None:
    """Remove what was kept for an end that this is, and files that were not ready when their writer was killed."""
    for left in (path / RESERVE, *path.rglob(HIDDEN.format("*"))):
        left.unlink(missing_ok=True)


def _segments(path: Path) -> Iterable[list[Path]]:
    if not path.is_dir():
        raise RecordingFolderError(f"{path}: no such folder or file")
    return [*segments_of(path).values(), *rows_of(path).values()]


def _recover_file(path: Path) -> RecoveredFile:
    if is_empty(path):
        path.unlink()
        sync_folder(path.parent)
        return RecoveredFile(path.name, "removed")
    try:
        with open_file_of(path) as segment:
            if not segment.was_killed:
                return RecoveredFile(path.name, "plain", segment.items)
            beside = path.with_name(HIDDEN.format(path.name))
            if isinstance(segment, RowsReader):
                copy_rows(segment, beside)
            else:
                _copy(segment, beside)
            result = RecoveredFile(path.name, "recovered", segment.items, segment.trimmed)
    except SegmentFormatError as error:
        return RecoveredFile(path.name, "unreadable", error=str(error))
    beside.replace(path)
    sync_folder(path.parent)
    return result


def _copy(segment: SegmentReader, path: Path) -> None:
    with h5py.File(path, "w", libver=layout.LIBVER) as file:
        data, tables = create_datasets(file, segment.head)
        file.attrs.update(segment.head.to_attributes())
        columns = {layout.BLOCKS: segment.rows, layout.SEQ: segment.sequences, layout.TIME: segment.times}
        for table in tables:
            rows = columns[table.name.removeprefix("/")]
            table.resize(len(rows), axis=0)
            table[:] = rows
        data.resize(segment.items, axis=0)
        for index, at in enumerate(segment.positions.tolist()):
            mask, payload = segment.read_chunk(index)
            data.id.write_direct_chunk((at, *(0 for _ in segment.head.shape)), payload, mask)
        file.flush()
        os.fdatasync(file.id.get_vfd_handle())
    with path.open("rb") as closed:
        os.fsync(closed.fileno())
