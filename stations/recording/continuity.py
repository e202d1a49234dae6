"""What one stream's recording must account for: where each birth began, what is stored, what is missing and why.

No I/O.  For every birth, at any time: `last - origin == stored + missing`, and every missing item has a reason
(`reasons`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.losses import SPOOLED

from .ranges import Ranges
from .reasons import UNKNOWN, Gap, Reasons, is_guess, join_gaps


@dataclass(slots=True)
class BirthAccount:
    """The account of one ring generation."""

    birth: int
    origin: int
    stored: Ranges = field(default_factory=Ranges)
    told: Reasons = field(default_factory=Reasons)
    _pending: Ranges = field(default_factory=Ranges)
    """What is missing and in a spool."""
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
        told = [Gap(gap.first, gap.count, lost_reason or UNKNOWN) for gap in self._guessed(to - lost, to)]
        gaps = tuple(gap for gap in (silent, *join_gaps(told)) if gap.count)
        self.end = max(self.end, to)
        self.hear(gaps)
        return gaps

    def hear(self, gaps: Iterable[Gap]) -> None:
        """Note reasons of what is missing."""
        for gap in gaps:
            self.told.tell(gap)
            if gap.reason == SPOOLED or self._pending:
                self._see_what_is_pending(gap.first, gap.end)

    def store(self, first: int, count: int) -> None:
        """Account for items that are now in a file, and were in none."""
        self.fill(first, count)
        self.end = max(self.end, first + count)

    def fill(self, first: int, count: int) -> None:
        """Account for items that came late; where the live stream stands does not change."""
        self.stored.add(first, first + count)
        self._pending.remove(first, first + count)

    def fresh(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the runs of ``[first, end)`` that belong to the recording and are in no file yet."""
        return self.stored.holes(max(first, self.origin), end)

    def blame(self, reason: str) -> None:
        """Give everything that is missing below `end`, and of which nobody told why, this reason."""
        holes = self.stored.holes(self.origin, self.end)
        self.hear(gap for hole in holes for gap in self.told.of(*hole, otherwise=reason) if gap.reason == reason)

    def pend(self, kept: Iterable[tuple[int, int]]) -> tuple[Gap, ...]:
        """Hear what the Pilot's spool holds: what is missing of it may still come; return the new gaps."""
        guessed = [gap for first, end in kept for gap in self._guessed(first, min(end, self.last))]
        gaps = tuple(join_gaps(Gap(gap.first, gap.count, SPOOLED) for gap in guessed))
        self.hear(gaps)
        return gaps

    def missing(self) -> list[Gap]:
        """Return what is in no file, each run with the best reason that was told of it."""
        return join_gaps(self._why(self.origin, self.last))

    @property
    def pending(self) -> int:
        """How many of the missing items are in a spool, and may come."""
        return len(self._pending)

    @property
    def last(self) -> int:
        """The sequence after the last item that is stored or accounted for."""
        return max(self.end, self.stored.end or 0)

    def take_back(self, first: int, end: int, reason: str) -> int:
        """Count what was stored of ``[first, end)`` as missing; return how many items that were."""
        before = len(self.stored)
        self.stored.remove(first, end)
        taken = before - len(self.stored)
        self._see_what_is_pending(first, end)
        if taken:
            self.hear([Gap(first, end - first, reason)])
        return taken

    def _see_what_is_pending(self, first: int, end: int) -> None:
        self._pending.remove(first, end)
        for gap in self._why(first, end):
            if gap.reason == SPOOLED:
                self._pending.add(gap.first, gap.end)

    def _guessed(self, first: int, end: int) -> list[Gap]:
        """Return what of ``[first, end)`` is missing without a reason that somebody told."""
        return [gap for gap in self._why(first, end) if is_guess(gap.reason)]

    def _why(self, first: int, end: int) -> list[Gap]:
        """Return what of ``[first, end)`` is missing, with reasons."""
        holes = self.stored.holes(max(first, self.origin), end)
        return [gap for hole in holes for gap in self.told.of(*hole)]

    def summary(self) -> dict[str, Any]:
        """Return the account as plain values, gaps with equal reasons joined."""
        return {
            "origin": self.origin,
            "end": self.last,
            "stored": len(self.stored),
            "gaps": [[gap.first, gap.count, gap.reason] for gap in self.missing()],
        }

    def __repr__(self) -> str:
        return f"<BirthAccount {self.birth:016x} [{self.origin}, {self.last}) stored={len(self.stored)}>"
