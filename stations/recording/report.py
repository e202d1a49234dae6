"""What `verify` found: plain values, printed or turned into JSON by whoever asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pipeline.losses import SPOOLED

SHOWN: Final = 5
"""How many of a kind are named on the screen; JSON has them all."""


@dataclass(frozen=True, slots=True)
class BadItem:
    """An item, or a block of them, that is not what was sent."""

    file: str
    birth: str
    sequence: int
    what: str

    def __str__(self) -> str:
        return f"item {self.sequence} in {self.file}: {self.what}"


@dataclass(frozen=True, slots=True)
class FoundGap:
    """A run of items that is not in the recording."""

    birth: str
    first: int
    count: int
    reason: str
    problem: str = ""
    """Why it cannot be accepted; empty when it is explained."""

    def __str__(self) -> str:
        return f"gap of {self.count} items from {self.first}: {self.reason}{self.problem and ', ' + self.problem}"


@dataclass(slots=True)
class StreamReport:
    """What was found in one stream."""

    stream: str
    stored: int = 0
    segments: int = 0
    births: int = 0
    gaps: list[FoundGap] = field(default_factory=list)
    bad_items: list[BadItem] = field(default_factory=list)
    """Blocks whose bytes fail the CRC that came over the wire, or whose tables contradict each other."""
    failed_checks: list[BadItem] = field(default_factory=list)
    """Items that fail the check they carry themselves."""
    checked: int = 0
    """Items that carry a check."""
    duplicates: int = 0
    """Items stored more than once."""
    backward_times: list[BadItem] = field(default_factory=list)
    """Items whose time is not after the one before."""
    problems: list[str] = field(default_factory=list)
    """Files that cannot be read, counts that differ."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and no fault."""

    @property
    def ok(self) -> bool:
        """Whether everything stored is right and everything missing is explained."""
        wrong = self.bad_items or self.failed_checks or self.duplicates or self.backward_times or self.problems
        return not wrong and not any(gap.problem for gap in self.gaps)

    @property
    def pending(self) -> int:
        """Items that a Pilot's spool still has."""
        return sum(gap.count for gap in self.gaps if gap.reason == SPOOLED)

    def lines(self) -> Iterable[str]:
        """Yield what a person wants to read."""
        lost = Counter[str]()
        for gap in self.gaps:
            lost[gap.reason] += gap.count
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items())) or "none"
        verdict = "" if self.ok else "  BAD"
        yield f"{self.stream}: {self.stored} items in {self.segments} files, missing: {dropped}{verdict}"
        found = [*self.problems, *self.bad_items, *self.failed_checks, *self.backward_times]
        found += [gap for gap in self.gaps if gap.problem]
        if self.duplicates:
            found.append(f"{self.duplicates} items are stored more than once")
        yield from (f"  {self.stream}: {what}" for what in found[:SHOWN])
        if len(found) > SHOWN:
            yield f"  {self.stream}: and {len(found) - SHOWN} more"
        yield from (f"  {self.stream}: {note}" for note in self.notes)


@dataclass(slots=True)
class Report:
    """What was found in a recording."""

    directory: str
    streams: dict[str, StreamReport] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What concerns no single stream: the journal, the summary."""
    closed: bool = False
    """The recorder closed the recording; otherwise it runs still, or was killed."""
    deaths: list[str] = field(default_factory=list)
    """Processes that died during the recording."""

    @property
    def ok(self) -> bool:
        """Whether the recording holds what it should."""
        return not self.problems and all(stream.ok for stream in self.streams.values())

    @property
    def pending(self) -> int:
        """Items that Pilots' spools still have."""
        return sum(stream.pending for stream in self.streams.values())

    def lines(self) -> list[str]:
        """Return what a person wants to read, the verdict last."""
        found = [line for stream in self.streams.values() for line in stream.lines()]
        found += [f"{self.directory}: {problem}" for problem in self.problems]
        if self.deaths:
            found.append(f"died during the recording: {', '.join(self.deaths)}")
        state = "" if self.closed else " (not closed: running, or its recorder was killed)"
        verdict = f"pending: {self.pending} items are in the spool" if self.pending else "whole"
        return [*found, f"{self.directory}: {verdict if self.ok else 'NOT WHOLE'}{state}"]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        streams = {name: {**asdict(stream), "ok": stream.ok} for name, stream in self.streams.items()}
        return {**asdict(self), "streams": streams, "ok": self.ok, "pending": self.pending}

    def __repr__(self) -> str:
        return f"<Report {self.directory} streams={len(self.streams)} {'ok' if self.ok else 'BAD'}>"
