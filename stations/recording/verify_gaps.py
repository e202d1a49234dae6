"""What is missing of a stream, and whether it may be: checked against what the journal tells of gaps and deaths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .journal import Event, JournalReading
from .ranges import Ranges
from .reasons import UNKNOWN, Gap, explain
from .report import FoundGap
from .session import MAX_LOSS_S

DEATH: Final = "death"
"""Kind of the event that names a process that died."""
BEGUN: Final = ("recording", "resumed")
"""Kinds of the events that tell that a recorder began."""
RESTART_S: Final = 60.0
"""Deaths less than this before a gap was noticed belong to it."""
TOLD_LATE_S: Final = 5.0
"""A death on another machine may reach the journal after the gap that it caused."""


@dataclass(slots=True, order=True)
class Seam:
    """Where items of one file that follow each other begin and end in time."""

    first: int
    first_time: int
    last_time: int
    file: str


@dataclass(slots=True)
class BirthFound:
    """What the files of one stream and birth add up to."""

    origin: int
    rate: float
    stored: Ranges = field(default_factory=Ranges)
    last_time: int | None = None
    """Of the rows' last one."""
    seams: list[Seam] = field(default_factory=list)


def gaps_of(stream: str, birth: int, account: BirthFound, told: list[Gap], journal: JournalReading) -> list[FoundGap]:
    """Return what is missing of a stream and birth, each gap with its reason and why it cannot be accepted."""
    end = max([account.stored.end or account.origin, *(gap.end for gap in told)])
    missing = explain(account.stored.holes(account.origin, end), told, UNKNOWN)
    noticed = {
        event.fields["first"]: event.wall_ns
        for event in journal.of_kind("gap")
        if event.fields["stream"] == stream and int(event.fields["birth"], 16) == birth
    }
    found = []
    for gap in missing:
        unknown = gap.reason == UNKNOWN
        problem = _problem_of(gap, account.rate, noticed.get(gap.first), journal) if unknown else ""
        found.append(FoundGap(f"{birth:016x}", gap.first, gap.count, gap.reason, problem))
    return found


def deaths_of(journal: JournalReading) -> list[Event]:
    """Return the deaths during a recording: not those that a rig had seen which stood by for it."""
    since_ns = min((event.wall_ns for event in journal.of_kind(*BEGUN)), default=0)
    return [event for event in journal.of_kind(DEATH) if event.wall_ns >= since_ns]


def _problem_of(gap: Gap, rate: float, noticed_ns: int | None, journal: JournalReading) -> str:
    """Say why an unexplained gap cannot be accepted; empty when a death explains it."""
    until_ns = None if noticed_ns is None else noticed_ns + TOLD_LATE_S * 1e9
    deaths = [event for event in deaths_of(journal) if until_ns is None or event.wall_ns <= until_ns]
    if not deaths:
        return "nobody said why, and no process died before it"
    if noticed_ns is None or not rate:
        return ""
    # Deaths come in groups: a Pilot takes its sensors with it.  The first of the group began the loss.
    group = [event for event in deaths if noticed_ns - event.wall_ns <= RESTART_S * 1e9] or deaths[-1:]
    begun = journal.of_kind(*BEGUN)
    max_loss_s = max((event.fields["max_loss_s"] for event in begun), default=MAX_LOSS_S)
    longest_s = max_loss_s + max(0.0, (noticed_ns - group[0].wall_ns) / 1e9)
    if gap.count > rate * longest_s:
        name = group[0].fields.get("name", "?")
        return f"more than the death of {name} explains ({rate * longest_s:.0f} items in {longest_s:.1f} s)"
    return ""
