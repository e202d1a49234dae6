"""What one stream's recording must account for: where each birth began, what is stored, what is missing and why.

No I/O.  For every birth, at any time: `end - origin == stored + missing`, and every missing item has a reason:

| reason | meaning |
|---|---|
| `link`, `lapped`, … | the Pilot dropped it and said so in the block that follows |
| `recorder` | it reached this machine, but the recorder was dead or too slow for the ring |
| `disk` | the disk did not take it |
| `unknown` | nobody said; only a death can explain it |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .ranges import Ranges

UNKNOWN: Final = "unknown"
RECORDER: Final = "recorder"
DISK: Final = "disk"


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
    told_end: int = -1
    """Where an earlier process saw the stream end; what it lost before that is lost."""

    def __post_init__(self) -> None:
        self.end = max(self.end, self.origin)

    def advance(self, to: int, *, lost: int = 0, lost_reason: str = "", otherwise: str = UNKNOWN) -> tuple[Gap, ...]:
        """Account for everything up to `to`; return the new gaps.

        Args:
            to: sequence at which the stream goes on, or ended.
            lost: how many items just before `to` the Pilot says it dropped.
            lost_reason: why it dropped them.
            otherwise: reason of what is missing beyond those.
        """
        missing = to - self.end
        if missing <= 0:
            return ()
        declared = min(lost, missing)
        silent = missing - declared
        found = (Gap(self.end, silent, otherwise), Gap(self.end + silent, declared, lost_reason or UNKNOWN))
        gaps = tuple(gap for gap in found if gap.count)
        self.gaps.extend(gaps)
        self.end = to
        return gaps

    def store(self, first: int, count: int) -> None:
        """Account for items that are now in a file; `first` is `end`."""
        self.stored.add(first, first + count)
        self.end = first + count

    def take_back(self, end: int, reason: str) -> None:
        """Count what was stored from `end` on as missing."""
        self.stored = Ranges((first, min(last, end)) for first, last in self.stored if first < end)
        if end < self.end:
            self.gaps.append(Gap(end, self.end - end, reason))

    def summary(self) -> dict[str, Any]:
        """Return the account as plain values, gaps with equal reasons joined."""
        return {
            "origin": self.origin,
            "end": self.end,
            "stored": len(self.stored),
            "gaps": [[gap.first, gap.count, gap.reason] for gap in join_gaps(self.gaps)],
        }

    def __repr__(self) -> str:
        missing = sum(gap.count for gap in self.gaps)
        return f"<BirthAccount {self.birth:016x} [{self.origin}, {self.end}) stored={len(self.stored)} lost={missing}>"


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
