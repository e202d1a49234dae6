"""What goes along with the streams: events, gaps and rows of messages, each a line of JSON with its time."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from stations.recording import RowsReader, SegmentFormatError
from stations.recording.resume import rows_of

from .selection import Selection


@dataclass(frozen=True, slots=True)
class Note:
    """One line."""

    utc_ns: int
    """When, ns since 1970."""
    text: str
    """A JSON object."""


@dataclass(slots=True)
class Notes:
    """All lines of an export, by name: ``events``, ``gaps``, ``rows/<key>``."""

    lists: dict[str, list[Note]]
    damaged: list[str]
    """One sentence for each row that is not as it was written; it is left out."""


def read_notes(selection: Selection) -> Notes:
    """Return everything that goes along and is within the window."""
    found = Notes({"events": list(_events(selection)), "gaps": list(_gaps(selection))}, [])
    for stream in rows_of(selection.recording.path):
        name = f"rows/{stream.partition('/')[2]}"
        found.lists[name] = list(_rows(selection, stream, found.damaged))
    if not selection.window.is_all:
        begin, end = selection.utc_bounds()
        for name, notes in found.lists.items():
            found.lists[name] = [note for note in notes if begin <= note.utc_ns < end]
    return found


def _events(selection: Selection) -> Iterator[Note]:
    for event in selection.recording.events:
        told = {"kind": event.kind, "wall_ns": event.wall_ns, "monotonic_ns": event.monotonic_ns, **event.fields}
        yield Note(event.wall_ns, _json(told))


def _gaps(selection: Selection) -> Iterator[Note]:
    for name, stream in selection.streams.items():
        for gap in stream.gaps:
            told = {
                "stream": name, "birth": f"{gap.birth:016x}", "first": gap.first, "count": gap.count,
                "reason": gap.reason, "position": gap.position,
            }  # fmt: skip
            at = min(gap.position, len(stream) - 1)
            yield Note(int(stream.utc[at]) if at >= 0 else selection.utc_bounds()[0], _json(told))


def _rows(selection: Selection, stream: str, damaged: list[str]) -> Iterator[Note]:
    for path in rows_of(selection.recording.path)[stream]:
        try:
            with RowsReader(path) as reader:
                yield from _rows_in(reader, stream, damaged)
        except SegmentFormatError as error:
            damaged.append(f"{stream}: {error}")


def _rows_in(reader: RowsReader, stream: str, damaged: list[str]) -> Iterator[Note]:
    bad = dict(reader.problems())
    damaged += [f"{stream}: {reader.path.name}: row {sequence}: {what}" for sequence, what in bad.items()]
    head = reader.head
    for index, row in enumerate(reader.rows):
        if head.first + index in bad:
            continue
        text, arrays = reader.content(index)
        utc_ns = int(row["time_ns"]) + head.clock_realtime_ns - head.clock_monotonic_ns
        told: dict[str, Any] = {"sequence": int(row["sequence"]), "time_ns": int(row["time_ns"]), "utc_ns": utc_ns}
        told["birth"] = f"{head.birth:016x}"
        told["message"] = msgspec.Raw(text)
        if arrays:
            told["arrays"] = base64.b64encode(arrays).decode()
        yield Note(utc_ns, _json(told))


def _json(told: Any) -> str:
    return msgspec.json.encode(told).decode()
