"""What one stream's recording must account for: where each birth began, what is stored, what is missing and why.

No I/O.  For every birth, at any time: `end - origin == stored + missing`, and every missing item has a reason:

| reason | meaning |
|---|---|
| `link`, `lapped`, … | the Pilot dropped it and said so in the block that follows |
| `recorder` | it was in a ring of this machine, but the recorder was dead or too slow for it |
| `disk` | the disk did not take it, and no spool has it |
| `spooled` | pending: it is in the Pilot's spool, and comes; any other reason that the Pilot told is a better one |
| `unknown` | nobody said; only a death can explain it |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.losses import SPOOLED

from .ranges import Ranges

UNKNOWN: Final = "unknown"
RECORDER: Final = "recorder"
DISK: Final = "disk"
_MERITS: Final = {SPOOLED: 1, DISK: 2, RECORDER: 3, UNKNOWN: 3}


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """A run of items that is not in the recording."""

    first: int
    count: int
    reason: str

    @property
    def end(self) -> int:
        """The sequence after the last missing item."""
        return self.first + self.count


@dataclass(slots=True)
class BirthAccount:
    """The account of one ring generation."""

    birth: int
    origin: int
    stored: Ranges = field(default_factory=Ranges)
    gaps: list[Gap] = field(default_factory=list)
    end: int = -1
    """The sequence after the last item that is accounted for, stored or missing."""
    is_guessed: bool = False
    """Only items out of a spool came so far: the run may have begun earlier."""
    told_end: int = -1
    """Where an earlier process saw the stream end; what it lost before that is lost."""

    def __post_init__(self) -> None:
        self.end = max(self.end, self.origin)

    def begin(self, origin: int) -> None:
        """Hear from the live stream where the run began."""
        self.guess(origin)
        self.is_guessed = False

    def guess(self, origin: int) -> None:
        """Hear from a spool that the run began no later than at `origin`."""
        if self.is_guessed:
            self.origin = self.end = min(self.origin, origin)

    def advance(self, to: int, *, lost: int = 0, lost_reason: str = "", otherwise: str = UNKNOWN) -> tuple[Gap, ...]:
        """Account for everything up to `to`; return the new gaps.

        Args:
            to: sequence at which the stream goes on, or ended.
            lost: how many items just before `to` the Pilot says it dropped.
            lost_reason: why it dropped them.
            otherwise: reason of what is missing beyond those.
        """
        silent = Gap(self.end, max(0, to - lost - self.end), otherwise)
        told = [
            Gap(first, end - first, lost_reason or UNKNOWN)
            for first, end in self.stored.holes(max(to - lost, self.origin), to)
            if not any(gap.first <= first and end <= gap.end and by_merit(gap) < 2 for gap in self.gaps)
        ]
        gaps = tuple(gap for gap in (silent, *told) if gap.count)
        for gap in gaps:
            self._note(gap)
        self.end = max(self.end, to)
        return gaps

    def store(self, first: int, count: int) -> None:
        """Account for items that are now in a file, and were in none."""
        self.stored.add(first, first + count)
        self.end = max(self.end, first + count)

    def fill(self, first: int, count: int) -> None:
        """Account for items that came late; where the live stream stands does not change."""
        self.stored.add(first, first + count)

    def fresh(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the runs of ``[first, end)`` that belong to the recording and are in no file yet."""
        return self.stored.holes(max(first, self.origin), end)

    def pend(self, kept: Iterable[tuple[int, int]]) -> tuple[Gap, ...]:
        """Hear what the Pilot's spool holds: what is missing of it may still come; return the new gaps."""
        runs = list(kept)
        gaps = tuple(
            Gap(max(first, gap.first), min(end, gap.end) - max(first, gap.first), SPOOLED)
            for gap in self.missing()
            if by_merit(gap) >= 2
            for first, end in runs
            if first < gap.end and gap.first < end
        )
        self.gaps.extend(gaps)
        return gaps

    def missing(self) -> list[Gap]:
        """Return what is in no file, each run with the best reason that was told of it."""
        holes = self.stored.holes(self.origin, self.last)
        return join_gaps(explain(holes, sorted(self.gaps, key=by_merit), UNKNOWN))

    @property
    def last(self) -> int:
        """The sequence after the last item that is stored or accounted for."""
        return max(self.end, self.stored.end or 0)

    def take_back(self, first: int, end: int, reason: str) -> int:
        """Count what was stored of ``[first, end)`` as missing; return how many items that were."""
        taken = end - first - sum(b - a for a, b in self.stored.holes(first, end)) if first < end else 0
        outside = [(a, min(b, first)) for a, b in self.stored if a < first]
        outside += [(max(a, end), b) for a, b in self.stored if b > end]
        self.stored = Ranges(outside)
        if taken:
            self.gaps.append(Gap(first, end - first, reason))
        return taken

    def _note(self, gap: Gap) -> None:
        last = self.gaps[-1] if self.gaps else None
        if last is not None and (last.end, last.reason) == (gap.first, gap.reason):  # one for hours of a full disk
            self.gaps[-1] = Gap(last.first, last.count + gap.count, gap.reason)
        else:
            self.gaps.append(gap)

    def summary(self) -> dict[str, Any]:
        """Return the account as plain values, gaps with equal reasons joined."""
        return {
            "origin": self.origin,
            "end": self.last,
            "stored": len(self.stored),
            "gaps": [[gap.first, gap.count, gap.reason] for gap in self.missing()],
        }

    def __repr__(self) -> str:
        missing = sum(gap.count for gap in self.missing())
        return f"<BirthAccount {self.birth:016x} [{self.origin}, {self.last}) stored={len(self.stored)} lost={missing}>"


def by_merit(gap: Gap) -> int:
    """Order what was said of the same items: a reason that the Pilot told, then that they may still come, then ours."""
    return _MERITS.get(gap.reason, 0)


def explain(holes: Iterable[tuple[int, int]], known: Sequence[Gap], otherwise: str) -> list[Gap]:
    """Give every hole its reasons.

    Args:
        holes: runs (first, end) that are missing.
        known: gaps with reasons, possibly overlapping; the first that covers an item names its reason.
        otherwise: reason of what no known gap covers.
    """
    explained = []
    for first, end in holes:
        rest = Ranges([(first, end)])
        pieces: list[Gap] = []
        for gap in known:
            low, high = max(first, gap.first), min(end, gap.end)
            if low < high:
                free = [run for run in rest if run[0] < high and low < run[1]]
                pieces += [Gap(max(a, low), min(b, high) - max(a, low), gap.reason) for a, b in free]
                covered = Ranges((piece.first, piece.end) for piece in pieces)
                rest = Ranges(covered.holes(first, end))
        pieces += [Gap(a, b - a, otherwise) for a, b in rest]
        explained += sorted(pieces)
    return explained


def join_gaps(gaps: Iterable[Gap]) -> list[Gap]:
    """Join gaps that touch and have the same reason."""
    joined: list[Gap] = []
    for gap in sorted(gaps):
        last = joined[-1] if joined else None
        if last is not None and last.end == gap.first and last.reason == gap.reason:
            joined[-1] = Gap(last.first, last.count + gap.count, last.reason)
        else:
            joined.append(gap)
    return joined
