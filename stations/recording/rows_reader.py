"""Reads one file of message rows: being written, closed, killed or recovered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from . import rows_layout
from .errors import SegmentFormatError
from .row_text import decode_message
from .rows_layout import RowsHead, crc_of
from .segment_reader import open_file

WINDOW: Final = 1024 * 1024
"""Bytes of values read at once: asking HDF5 for each row would cost ten times the row."""


class RowsReader:
    """One file of rows, open for reading; belongs to one thread.

    Args:
        path: the file.

    Raises:
        SegmentFormatError: not a file of rows, or its HDF5 structure is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self.was_killed = open_file(path)
        self._window, self._window_at = b"", 0
        try:
            self.head = RowsHead.from_attributes(self._file.attrs)
            group = self._file[self.head.group]
            rows, self._values = group[rows_layout.ROWS][:], group[rows_layout.VALUES]
            rows = rows.astype(rows_layout.ROW, casting="equiv")
            self.size = int(self._values.shape[0])
        except (OSError, KeyError, ValueError, TypeError, AttributeError, SegmentFormatError) as error:
            self._file.close()
            raise SegmentFormatError(f"{path.name}: {error}") from error
        self.rows: NDArray[np.void] = rows[: self._whole(rows)]
        self.trimmed = len(rows) - len(self.rows)

    @property
    def items(self) -> int:
        """How many rows are whole."""
        return len(self.rows)

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs of sequences that are whole: one, if there is any."""
        return [(self.head.first, self.end)] if self.items else []

    @property
    def end(self) -> int:
        """The sequence after the last whole row."""
        return self.head.first + self.items

    @property
    def damage(self) -> str:
        """What is wrong with the file as a whole; empty if nothing is."""
        if self.was_killed or not len(self.rows):
            return ""
        last = self.rows[-1]
        end = int(last["begin"]) + int(last["text"]) + int(last["arrays"])
        return "" if end == self.size else f"values has {self.size} bytes, the rows say {end}"

    def row(self, index: int) -> dict[str, Any]:
        """Return a row: `sequence`, `time_ns`, `birth`, `sender`, `timestamp`, `value`, `extra`.

        Raises:
            SegmentFormatError: its bytes are not where the file says, or no row.
        """
        row = self.rows[index]
        text, arrays = self.content(index)
        told = {"sequence": int(row["sequence"]), "time_ns": int(row["time_ns"]), "birth": self.head.birth}
        return {**told, **decode_message(text, arrays)}

    def content(self, index: int) -> tuple[bytes, bytes]:
        """Return the JSON text of a row and the bytes of its arrays, as they are in the file.

        Raises:
            SegmentFormatError: they are not where the file says.
        """
        return self._bytes_of(self.rows[index])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every row."""
        return (self.row(index) for index in range(self.items))

    def problems(self) -> Iterator[tuple[int, str]]:
        """Yield each row (by the sequence that it should have) that is not what was written, and what is wrong."""
        begin = 0
        for index, row in enumerate(self.rows):
            expected = self.head.first + index
            problem = self._problem_of(row, expected, begin)
            if problem:
                yield expected, problem
            begin += int(row["text"]) + int(row["arrays"])
            if problem and index + 1 < len(self.rows):
                begin = int(self.rows[index + 1]["begin"])  # one wrong length must not accuse all that follow

    def value_pieces(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the bytes of all whole rows, some MiB at a time."""
        last = self.rows[-1] if len(self.rows) else None
        end = 0 if last is None else int(last["begin"]) + int(last["text"]) + int(last["arrays"])
        return (self._values[at : min(end, at + WINDOW)] for at in range(0, min(end, self.size), WINDOW))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        killed = " writer killed" if self.was_killed else ""
        return f"<RowsReader {self.path.name} [{self.head.first}, {self.end}){killed}>"

    def _whole(self, rows: NDArray[np.void]) -> int:
        """Return how many rows from the first on may be whole; only a killed writer leaves others."""
        if not self.was_killed:
            return len(rows)
        size = rows["text"].astype(np.int64) + rows["arrays"]
        whole = (size > 0) & (rows["begin"].astype(np.int64) + size <= self.size)
        behind = np.flatnonzero(whole)
        return int(behind[-1]) + 1 if len(behind) else 0

    def _bytes_of(self, row: np.void) -> tuple[bytes, bytes]:
        begin, text, arrays = int(row["begin"]), int(row["text"]), int(row["arrays"])
        end = begin + text + arrays
        if end > self.size:
            raise SegmentFormatError(f"{self.path.name}: row {row['sequence']} lies behind the end of the values")
        if begin < self._window_at or end > self._window_at + len(self._window):
            try:
                self._window = self._values[begin : max(end, begin + WINDOW)].tobytes()
            except (OSError, RuntimeError, ValueError) as error:
                raise SegmentFormatError(f"{self.path.name}: row {row['sequence']} cannot be read: {error}") from error
            self._window_at = begin
        at = begin - self._window_at
        return self._window[at : at + text], self._window[at + text : at + text + arrays]

    def _problem_of(self, row: np.void, expected: int, begin: int) -> str:
        if int(row["sequence"]) != expected:
            return f"sequence says {row['sequence']}"
        try:
            text, arrays = self._bytes_of(row)
        except SegmentFormatError as error:
            return str(error)
        if int(row["crc"]) != crc_of(int(row["sequence"]), int(row["time_ns"]), int(row["begin"]), text, arrays):
            return "row fails its CRC"
        if int(row["begin"]) != begin:
            return f"begins at byte {row['begin']}, the row before ends at {begin}"
        return ""
