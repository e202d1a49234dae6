"""Checks a recording against itself: counts, sequences, times, CRCs, self-checks, gaps and their reasons.

Everything comes from the files; the journal only explains.  A gap that nobody explained is accepted beside a death
that can have caused it and only up to ``rate * (max_loss_s + seconds since that death)``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.errors import UNREADABLE
from pipeline.reduction import scale_of
from stations.sources.selfcheck import check_items

from .errors import JournalError, RecordingFolderError, SegmentFormatError
from .journal import FILE_NAME, JournalReading, read_journal
from .reasons import Gap
from .report import BadItem, Report, StreamReport
from .resume import rows_of, segments_of, told_gaps
from .segment_reader import Chunk, SegmentReader
from .session import SUMMARY_NAME
from .verify_gaps import BirthFound, Excuses, Seam, gaps_of
from .verify_rows import read_rows


def verify(directory: Path) -> Report:
    """Check a recording; it may be running, closed, killed or recovered.

    Args:
        directory: the recording's folder.

    Raises:
        RecordingFolderError: no recording is there.
    """
    report = Report(str(directory))
    journal = _journal(directory, report)
    report.closed = (directory / SUMMARY_NAME).exists()
    told, excuses = told_gaps(journal), Excuses(journal)
    report.deaths = [str(event.fields.get("name", "?")) for event in excuses.deaths]
    for stream, paths in segments_of(directory).items():
        found = report.streams[stream] = StreamReport(stream, segments=len(paths))
        _account(found, _read_stream(paths, found), told, excuses)
    for stream, paths in rows_of(directory).items():
        rows = report.streams[stream] = StreamReport(stream, segments=len(paths))
        _account(rows, read_rows(paths, rows), told, excuses)
    _check_summary(directory, report)
    return report


def _account(
    found: StreamReport, births: dict[int, BirthFound], told: dict[tuple[str, int], list[Gap]], excuses: Excuses
) -> None:
    found.births = len(births)
    found.stored = sum(len(birth.stored) for birth in births.values())
    for birth, account in births.items():
        found.gaps += gaps_of(found.stream, birth, account, told[found.stream, birth], excuses)


def _journal(directory: Path, report: Report) -> JournalReading:
    try:
        journal = read_journal(directory / FILE_NAME)
    except JournalError as error:
        if not directory.is_dir() or not segments_of(directory):
            raise RecordingFolderError(f"{directory}: no recording is there (no {FILE_NAME}, no segment)") from error
        report.problems.append(str(error))
        return JournalReading((), ())
    report.problems += journal.problems
    return journal


def _read_stream(paths: list[Path], found: StreamReport) -> dict[int, BirthFound]:
    births: dict[int, BirthFound] = {}
    for path in paths:
        try:
            with SegmentReader(path) as segment:
                _read_segment(segment, births, found)
        except SegmentFormatError as error:
            found.problems.append(str(error))
    _check_seams(births, found)
    return births


def _read_segment(segment: SegmentReader, births: dict[int, BirthFound], found: StreamReport) -> None:
    head = segment.head
    account = births.setdefault(head.birth, BirthFound(head.origin, head.rate))
    account.origin = min(account.origin, head.origin)  # what came out of a spool first did not know it
    if segment.damage:
        found.problems.append(f"{segment.path.name}: {segment.damage}")
    if segment.was_killed:
        found.notes.append(
            f"{segment.path.name}: its writer was killed or writes still; {segment.trimmed} items trimmed"
        )
    found.duplicates += sum(account.stored.add(first, end) for first, end in segment.runs())
    _check_tables(segment, found)
    times: list[int] = []
    seam: Seam | None = None
    begins = {first for first, _ in segment.runs()}
    for index, first in enumerate(segment.rows["first_seq"].tolist()):
        try:
            chunk = segment.chunk(index)
            _check_chunk(segment, chunk, times, found)
        except SegmentFormatError as error:
            found.bad_items.append(_bad(segment, first, str(error)))
            continue
        if seam is None or first in begins:
            seam = Seam(first, int(chunk.times[0]), int(chunk.times[-1]), segment.path.name)
            account.seams.append(seam)
        seam.last_time = int(chunk.times[-1])


def _check_tables(segment: SegmentReader, found: StreamReport) -> None:
    """Compare `seq` and `time_ns` with the block rows, which say the same once more."""
    if not segment.head.per_item:  # there are none: they follow from the rows
        return
    expected = np.concatenate([np.arange(first, end, dtype=np.uint64) for first, end in [(0, 0), *segment.runs()]])
    for at in np.flatnonzero(segment.sequences != expected):
        found.bad_items.append(_bad(segment, int(expected[at]), f"seq says {segment.sequences[at]}"))
    for at in np.flatnonzero(segment.times[segment.positions] != segment.rows["time_ns"]):
        sequence = int(segment.rows[at]["first_seq"])
        found.bad_items.append(_bad(segment, sequence, "time_ns differs from the block's"))


def _check_seams(births: dict[int, BirthFound], found: StreamReport) -> None:
    """Compare times from file to file, in the order of their items: what came out of a spool lies in later files."""
    for birth, account in births.items():
        for before, after in itertools.pairwise(sorted(account.seams)):
            if after.first_time <= before.last_time:
                what = f"time {after.first_time} is not after {before.last_time}"
                found.backward_times.append(BadItem(after.file, f"{birth:016x}", after.first, what))


def _check_chunk(segment: SegmentReader, chunk: Chunk, times: list[int], found: StreamReport) -> None:
    # Within a block times follow from the first by a period, or were checked with it: only the seam can go back.
    if times and chunk.times[0] <= times[-1]:
        found.backward_times.append(_bad(segment, chunk.first, f"time {chunk.times[0]} is not after {times[-1]}"))
    times[1:] = [] if not times else [int(chunk.times[-1])]
    if not times:
        times += [int(chunk.times[0]), int(chunk.times[-1])]
    if not segment.is_whole(chunk):
        found.bad_items.append(_bad(segment, chunk.first, f"block of {chunk.count} items, or its row, fails its CRC"))
        return
    kind = (segment.head.meta or {}).get("selfcheck")
    if kind is not None and scale_of(chunk.codec) == 1:
        found.checked += chunk.count
        for index in check_items(segment.decode(chunk), kind):
            found.failed_checks.append(_bad(segment, chunk.first + index, f"fails its {kind} self-check"))


def _bad(segment: SegmentReader, sequence: int, what: str) -> BadItem:
    return BadItem(segment.path.name, f"{segment.head.birth:016x}", sequence, what)


def _check_summary(directory: Path, report: Report) -> None:
    """Compare the counts of `session.json` with the files."""
    if not report.closed:
        return
    try:
        summary: dict[str, Any] = msgspec.json.decode((directory / SUMMARY_NAME).read_bytes())
        told = {name: row["stored"] for name, row in summary["streams"].items()}
    except (OSError, *UNREADABLE, KeyError, TypeError) as error:
        report.problems.append(f"{SUMMARY_NAME} cannot be read: {error}")
        return
    for name, stored in told.items():
        found = report.streams.setdefault(name, StreamReport(name))
        if found.stored != stored:
            found.problems.append(f"{SUMMARY_NAME} says {stored} items, the files hold {found.stored}")
