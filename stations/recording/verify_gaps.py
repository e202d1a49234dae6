"""What is missing of a stream, and whether it may be: checked against what the journal tells of gaps and deaths."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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


class Excuses:
    """What a journal tells that may explain a gap; read once."""

    def __init__(self, journal: JournalReading) -> None:
        self.deaths = sorted(deaths_of(journal), key=_when)
        self._max_loss_s = max((event.fields["max_loss_s"] for event in journal.of_kind(*BEGUN)), default=MAX_LOSS_S)
        self._noticed = {
            (event.fields["stream"], int(event.fields["birth"], 16), event.fields["first"]): event.wall_ns
            for event in journal.of_kind("gap")
        }

    def problem_of(self, gap: Gap, stream: str, birth: int, rate: float) -> str:
        """Say why an unexplained gap cannot be accepted; empty when a death explains it."""
        noticed_ns = self._noticed.get((stream, birth, gap.first))
        deaths = self.deaths
        if noticed_ns is not None:
            deaths = deaths[: bisect_right(deaths, noticed_ns + TOLD_LATE_S * 1e9, key=_when)]
        if not deaths:
            return "nobody said why, and no process died before it"
        if noticed_ns is None or not rate:
            return ""
        # Deaths come in groups: a Pilot takes its sensors with it.  The first of the group began the loss.
        begun = bisect_left(deaths, noticed_ns - RESTART_S * 1e9, key=_when)
        first = deaths[min(begun, len(deaths) - 1)]
        longest_s = self._max_loss_s + max(0.0, (noticed_ns - first.wall_ns) / 1e9)
        if gap.count <= rate * longest_s:
            return ""
        name = first.fields.get("name", "?")
        return f"more than the death of {name} explains ({rate * longest_s:.0f} items in {longest_s:.1f} s)"


def gaps_of(stream: str, birth: int, account: BirthFound, told: list[Gap], excuses: Excuses) -> list[FoundGap]:
    """Return what is missing of a stream and birth, each gap with its reason and why it cannot be accepted."""
    end = max([account.stored.end or account.origin, *(gap.end for gap in told)])
    found = []
    for gap in explain(account.stored.holes(account.origin, end), told, UNKNOWN):
        problem = excuses.problem_of(gap, stream, birth, account.rate) if gap.reason == UNKNOWN else ""
        found.append(FoundGap(f"{birth:016x}", gap.first, gap.count, gap.reason, problem))
    return found


def deaths_of(journal: JournalReading) -> list[Event]:
    """Return the deaths during a recording: not those that a rig had seen which stood by for it."""
    since_ns = min((event.wall_ns for event in journal.of_kind(*BEGUN)), default=0)
    return [event for event in journal.of_kind(DEATH) if event.wall_ns >= since_ns]


def _when(event: Event) -> int:
    return event.wall_ns
