"""Checks the files of message rows: every row's CRC, the offsets, the sequences, that its text can be read."""

from __future__ import annotations

from pathlib import Path

from .errors import SegmentFormatError
from .report import BadItem, StreamReport
from .rows_reader import RowsReader
from .verify_gaps import BirthFound


def read_rows(paths: list[Path], found: StreamReport) -> dict[int, BirthFound]:
    """Check the files of one key; what is wrong is noted in `found`, what is there is returned by birth."""
    births: dict[int, BirthFound] = {}
    for path in paths:
        try:
            with RowsReader(path) as rows:
                _read_file(rows, births, found)
        except SegmentFormatError as error:
            found.problems.append(str(error))
    return births


def _read_file(rows: RowsReader, births: dict[int, BirthFound], found: StreamReport) -> None:
    head = rows.head
    account = births.setdefault(head.birth, BirthFound(head.origin, 0.0))
    if rows.damage:
        found.problems.append(f"{rows.path.name}: {rows.damage}")
    if rows.was_killed:
        found.notes.append(f"{rows.path.name}: its writer was killed or writes still; {rows.trimmed} rows trimmed")
    found.duplicates += account.stored.add(head.first, rows.end)
    bad = dict(rows.problems())
    for sequence, what in bad.items():
        found.bad_items.append(_bad(rows, sequence, what))
    for index in range(rows.items):
        sequence = head.first + index
        if sequence in bad:
            continue
        try:
            rows.row(index)
        except SegmentFormatError as error:
            found.bad_items.append(_bad(rows, sequence, str(error)))
        time_ns = int(rows.rows[index]["time_ns"])
        if account.last_time is not None and time_ns < account.last_time:
            found.backward_times.append(_bad(rows, sequence, f"time {time_ns} is before {account.last_time}"))
        account.last_time = time_ns


def _bad(rows: RowsReader, sequence: int, what: str) -> BadItem:
    return BadItem(rows.path.name, f"{rows.head.birth:016x}", sequence, what)
