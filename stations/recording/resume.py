"""What an earlier process left in a recording's folder: read from the files themselves, never from a side file."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stations.rows_ring import PREFIX

from .continuity import BirthAccount
from .errors import SegmentFormatError
from .journal import JournalReading
from .reasons import RECORDER, Gap, explain
from .rows_layout import FOLDER
from .rows_reader import RowsReader
from .segment_reader import SegmentReader

SEGMENT: Final = re.compile(r"(?P<stream>.+)_part-(?P<part>\d{3,})\.h5")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Past:
    """What is in the files of one stream."""

    births: dict[int, BirthAccount] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    pieces: list[tuple[str, list[tuple[int, int, int]]]] = field(default_factory=list)
    """What each readable file holds: runs of (birth, first, end)."""
    next_part: int = 0
    stored: int = 0
    ended: bool = False


def segments_of(directory: Path) -> dict[str, list[Path]]:
    """Return the segment files of a recording by stream, in the order of their numbers."""
    return _files_in(directory, "")


def rows_of(directory: Path) -> dict[str, list[Path]]:
    """Return the files of message rows by stream (``data/<key>``), in the order of their numbers."""
    folder = directory / FOLDER
    return _files_in(folder, PREFIX) if folder.is_dir() else {}


def open_file_of(path: Path) -> SegmentReader | RowsReader:
    """Open a file of blocks or of rows; the folder that it is in says which.

    Raises:
        SegmentFormatError: it is damaged, or neither.
    """
    return RowsReader(path) if path.parent.name == FOLDER else SegmentReader(path)


def _files_in(folder: Path, prefix: str) -> dict[str, list[Path]]:
    found: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in folder.iterdir():
        match = SEGMENT.fullmatch(path.name)
        if match:
            found[prefix + match["stream"]].append((int(match["part"]), path))
    return {stream: [path for _, path in sorted(parts)] for stream, parts in sorted(found.items())}


def told_gaps(journal: JournalReading) -> dict[tuple[str, int], list[Gap]]:
    """Return the gaps that the journal explains, by stream and birth."""
    gaps: dict[tuple[str, int], list[Gap]] = defaultdict(list)
    for event in journal.of_kind("gap"):
        told = event.fields
        gaps[told["stream"], int(told["birth"], 16)].append(Gap(told["first"], told["count"], told["reason"]))
    return gaps


def restore(directory: Path, journal: JournalReading) -> dict[str, Past]:
    """Return each stream's past as its files and its journal tell it.

    A hole that the journal does not explain is the loss of the recorder that died.  A damaged file is left alone: its
    number is not used again, its items count as missing, and `verify` names it.
    """
    pasts: defaultdict[str, Past] = defaultdict(Past)
    for event in journal.of_kind("segment"):
        told = event.fields
        account = BirthAccount(int(told["birth"], 16), told["origin"], is_guessed=told.get("guessed", False))
        known = pasts[told["stream"]].births.setdefault(account.birth, account)
        known.origin = min(known.origin, account.origin)
        known.is_guessed = known.is_guessed and account.is_guessed
    for stream, paths in {**segments_of(directory), **rows_of(directory)}.items():
        for path in paths:
            _add(pasts[stream], path)
    gaps = told_gaps(journal)
    for stream, past in pasts.items():
        past.stored = sum(len(account.stored) for account in past.births.values())
        for birth, account in past.births.items():
            _explain(account, gaps[stream, birth])
    for event in journal.of_kind("end"):
        stream, birth = event.fields["stream"], int(event.fields["birth"], 16)
        _set_end(pasts[stream], birth, event.fields["end"], gaps[stream, birth])
    return dict(pasts)


def _add(past: Past, path: Path) -> None:
    past.files.append(f"{FOLDER}/{path.name}" if path.parent.name == FOLDER else path.name)
    past.next_part = _part(path) + 1
    try:
        with open_file_of(path) as segment:
            head, runs = segment.head, segment.runs()
    except SegmentFormatError as error:
        log.error("left alone: %s", error)  # noqa: TRY400 - a finding about a file, not our failure
        return
    account = past.births.setdefault(head.birth, BirthAccount(head.birth, head.origin))
    for first, end in runs:
        account.stored.add(first, end)
    past.pieces.append((past.files[-1], [(head.birth, first, end) for first, end in runs]))


def _part(path: Path) -> int:
    match = SEGMENT.fullmatch(path.name)
    return int(match["part"]) if match else 0


def _explain(account: BirthAccount, told: list[Gap]) -> None:
    account.end = account.stored.end or account.origin
    account.hear(Gap(gap.first, min(gap.end, account.end) - gap.first, gap.reason) for gap in told)
    account.blame(RECORDER)


def _set_end(past: Past, birth: int, end: int, told: list[Gap]) -> None:
    account = past.births.setdefault(birth, BirthAccount(birth, end))
    account.told_end = end
    tail = explain([(account.end, end)] if account.end < end else [], told, RECORDER)
    # Where something of the tail was stored but not yet flushed, it is still in the ring and comes again.
    if all(gap.reason != RECORDER for gap in tail):
        account.hear(tail)
        account.end = end
        past.ended = birth == next(reversed(past.births))
