"""``csv``: a folder with a table per stream, a line per item; floats as text that gives back the same bits."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from stations.recording import StreamRecording

from .columns import columns_of
from .folder import AppendingSink, FolderFormat, flat, make_folder
from .format import Digest, Piece, Sink
from .notes import Notes
from .selection import Selection

MOST_COLUMNS: Final = 4096


class Csv(FolderFormat):
    """``<stream>.csv``: time_ns and the other columns, then one per channel; births as 16 hex digits."""

    name: ClassVar[str] = "csv"
    suffix: ClassVar[str] = "-csv"

    def refuse(self, stream: StreamRecording) -> str:
        """A line holds some numbers, no image."""
        values = int(np.prod(stream.head.shape))
        if stream.dtype.kind not in "iufb":
            return f"csv holds numbers, not {stream.dtype}"
        return f"csv holds items of at most {MOST_COLUMNS} values, not {values}" if values > MOST_COLUMNS else ""

    def begin(self, path: Path, selection: Selection, notes: Notes) -> Sink:
        """Make the folder."""
        make_folder(path, notes)
        return CsvSink(path, selection, {})

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> Sink:
        """Go on behind what was noted."""
        return CsvSink(path, selection, state)

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read every table."""
        for name, stream in selection.streams.items():
            digest = Digest()
            with (path / f"{name}.csv").open(newline="") as file:
                lines = csv.reader(file)
                names = next(lines, [])
                begin = len(names) - int(np.prod(stream.head.shape))
                while rows := list(islice(lines, 4096)):
                    digest.add_times(np.array([int(row[0]) for row in rows], np.int64))
                    values = [[_value(text, stream.dtype.kind) for text in row[begin:]] for row in rows]
                    digest.add_items(np.array(values, stream.dtype))
            yield name, digest


class CsvSink(AppendingSink):
    """Writes lines."""

    def path_of(self, name: str) -> Path:
        """Return the table of a stream."""
        return self._path / f"{name}.csv"

    def head(self, stream: StreamRecording) -> bytes:
        """Return the line of names."""
        values = int(np.prod(stream.head.shape))
        labels = [label.replace('"', '""') for label in stream.labels]
        names = [f'"{label}"' for label in labels] if len(labels) == values else [f"ch{at}" for at in range(values)]
        return (",".join((*columns_of(stream), *names)) + "\n").encode()

    def encode(self, piece: Piece) -> bytes:
        """Return the lines of some items."""
        columns = columns_of(piece.stream)
        stamps = [np.asarray(column[piece.begin : piece.end]).tolist() for column in columns.values()]
        births = [f"{birth:016x}" for birth in piece.stream.table.births]
        at = list(columns).index("birth")
        stamps[at] = [births[index] for index in stamps[at]]
        lines = zip(zip(*stamps, strict=True), _texts(flat(piece.items())), strict=True)
        return "".join(f"{','.join(map(str, told))},{','.join(row)}\n" for told, row in lines).encode()


def _texts(rows: NDArray[Any]) -> list[list[str]]:
    """Return values as text; of a nan its sign as well: what x86 makes of 0/0 is negative."""
    texts = [list(map(repr, row)) for row in rows.tolist()]
    if rows.dtype.kind == "f":
        for row, column in np.argwhere(np.isnan(rows) & np.signbit(rows)).tolist():
            texts[row][column] = "-nan"
    return texts


def _value(text: str, kind: str) -> float | int | bool:
    return float(text) if kind == "f" else text == "True" if kind == "b" else int(text)
