"""What the formats with a file per stream share: a folder, JSON lines of what goes along, and tables of stamps."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from stations.recording import StreamRecording

from .columns import aligned_of
from .format import Digest, Format, Piece, Sink
from .notes import Notes
from .selection import Selection

STAMPS: Final = ("position", "count", "sequence", "birth", "time_ns", "period_ns", "utc_ns")
"""Columns of ``<stream>_stamps.csv``: items from `position` on, evenly spaced; birth as 16 hex digits."""


class FolderFormat(Format):
    """A folder with a file per stream, ``events.jsonl``, ``gaps.jsonl``, ``rows/<key>.jsonl``."""

    def read_notes(self, path: Path, names: list[str]) -> dict[str, list[str]]:
        """Read the JSON lines."""
        return {name: (path / f"{name}.jsonl").read_text().splitlines() for name in names}


class AppendingSink(Sink):
    """Appends to one file per stream; where it goes on, files are cut to what was noted.

    Args:
        path: the folder.
        selection: what is exported.
        sizes: bytes of each file that are whole.
    """

    def __init__(self, path: Path, selection: Selection, sizes: dict[str, int]) -> None:
        self._path = path
        self._sizes = dict(sizes)
        self._name = ""
        self._file: BinaryIO | None = None
        for name in selection.streams:
            with self.path_of(name).open("ab") as file:
                file.truncate(self._sizes.setdefault(name, 0))

    @abstractmethod
    def path_of(self, name: str) -> Path:
        """Return the file of a stream."""

    @abstractmethod
    def head(self, stream: StreamRecording) -> bytes:
        """Return what stands before the items."""

    @abstractmethod
    def encode(self, piece: Piece) -> bytes:
        """Return the bytes of a piece."""

    def write(self, piece: Piece) -> None:
        """Append a piece."""
        if self._name != piece.name or self._file is None:
            self.close()
            self._name, self._file = piece.name, self.path_of(piece.name).open("ab")
        if piece.begin == 0:
            self._file.write(self.head(piece.stream))
        self._file.write(self.encode(piece))

    def checkpoint(self) -> dict[str, Any]:
        """Hand what is written to the system."""
        if self._file is not None:
            self._file.flush()
            self._sizes[self._name] = self._file.tell()
        return dict(self._sizes)

    def finish(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._sizes[self._name] = self.path_of(self._name).stat().st_size
        self._file = None


def make_folder(path: Path, notes: Notes) -> None:
    """Make the folder with what goes along."""
    path.mkdir()
    for name, lines in notes.lists.items():
        file = path / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"{note.text}\n" for note in lines))


def write_stamps(path: Path, stream: StreamRecording) -> None:
    """Write when the items of a stream were acquired: a line for each run that is evenly spaced, so for each image."""
    table = stream.table
    with (path / f"{stream.name}_stamps.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        aligned = aligned_of(stream)
        writer.writerow([*STAMPS, *aligned])
        for begin, end, period_ns in _runs(stream):
            sequence, time_ns, utc_ns = (int(one[begin]) for one in (stream.sequence, stream.time, stream.utc))
            birth = f"{table.birth(begin):016x}"
            more = [int(column[begin]) for column in aligned.values()]
            writer.writerow([begin, end - begin, sequence, birth, time_ns, period_ns, utc_ns, *more])


def read_stamps(path: Path, name: str, digest: Digest) -> int:
    """Add the times of a stream to a digest; return how many there are."""
    count = 0
    with (path / f"{name}_stamps.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            items = int(row["count"])
            digest.add_times(int(row["time_ns"]) + np.arange(items, dtype=np.int64) * int(row["period_ns"]))
            count += items
    return count


def _runs(stream: StreamRecording) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, end, period): what one block holds, or one item of an irregular one."""
    table = stream.table
    for index, (begin, end) in enumerate(zip(table.begins[:-1].tolist(), table.begins[1:].tolist(), strict=True)):
        if table.chunks["times_at"][index] < 0:
            yield begin, end, int(table.chunks["period_ns"][index])
        else:
            yield from ((at, at + 1, 0) for at in range(begin, end))


def flat(items: NDArray[Any]) -> NDArray[Any]:
    """Return items as rows of values."""
    return items.reshape(len(items), -1)
