"""How another clock relates to ours: from probes, with what is not known.  No I/O: who asks hands the probes in.

Rules: the best of each burst, the one with the shortest way there
and back, bounds the difference; a burst that no straight line through the bursts before it can explain means that a
clock was stepped, and a new era begins.  `align` is the only way from one clock to another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .clock_domain import Aligned, Domain, Instant
from .clock_line import Band, Lines, Span
from .errors import ClockDomainError

DRIFT: Final = 200e-6
"""No clock of a computer or camera runs faster or slower than another by more than this share."""
WANDER: Final = 10e-6
"""What keeps a clock by NTP changes its rate by some ppm at a time, CLOCK_MONOTONIC's too; its quartz by far less."""
WINDOW: Final = 32
"""Bursts, on each side of a moment, that are asked about it; older ones say nothing more."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question and its answer, ns: `sent` and `returned` on our clock, `received` and `answered` on theirs."""

    sent: int
    received: int
    answered: int
    returned: int

    @property
    def round_ns(self) -> int:
        """Time on the way, there and back."""
        return (self.returned - self.sent) - (self.answered - self.received)

    @property
    def is_possible(self) -> bool:
        """Whether it took no less than no time, on either clock."""
        return self.round_ns >= 0 and self.returned >= self.sent and self.answered >= self.received

    def band(self) -> Band:
        """Return what it says of theirs minus ours, in the middle of it."""
        slack = int(DRIFT * (self.returned - self.sent)) + 1
        middle = (self.sent + self.returned) // 2
        low, high = self.answered - self.returned - slack, self.received - self.sent + slack
        return Band(middle, low, high, self.sent, self.returned)


def quickest(burst: Iterable[Probe]) -> Probe:
    """Return the probe that says most: of those that are possible, at least one, the one least time on the way."""
    return min((probe for probe in burst if probe.is_possible), key=lambda probe: probe.round_ns)


@dataclass(frozen=True, slots=True)
class Step:
    """A clock was set, or stood still: their time minus ours jumped by `size_ns` between two moments of ours."""

    after: int
    before: int
    size_ns: int


class Relation:
    """Their clock beside ours.

    Attributes:
        ours: our clock.
        theirs: the other.
        steps: where the difference jumped, oldest first.
    """

    def __init__(self, ours: Domain, theirs: Domain, *, drift: float = DRIFT, wander: float = WANDER) -> None:
        self.ours = ours
        self.theirs = theirs
        self.steps: list[Step] = []
        self._drift = drift
        self._wander = wander
        self._eras: list[list[Band]] = []

    @property
    def is_known(self) -> bool:
        """Whether anything was measured yet."""
        return bool(self._eras)

    def add(self, burst: Sequence[Probe]) -> Step | None:
        """Take the probes of one burst, later than all before; return the step they reveal.

        Probes whose answer cannot be true (it took less than no time) are left out.
        """
        if not any(probe.is_possible for probe in burst):
            return None
        band = quickest(burst).band()
        era = self._eras[-1] if self._eras else None
        if era is not None and self._lines([*era[-WINDOW:], band]).span(band.at) is not None:
            era.append(band)
            return None
        step = None if era is None else self._step(era, band)
        self._eras.append([band])
        return step

    def difference(self, at: int) -> Span:
        """Return what theirs minus ours can be at our time `at`, ns.

        Raises:
            ClockDomainError: nothing was measured yet.
        """
        if not self._eras:
            raise ClockDomainError(f"{self.ours} and {self.theirs} were not compared yet; wait for the first probes")
        spans = [self._within(era, at) for era in self._around(at)]
        return Span(
            min(span.low for span in spans),
            max(span.high for span in spans),
            min(span.slowest for span in spans),
            max(span.fastest for span in spans),
        )

    def to_theirs(self, instant: Instant) -> Aligned:
        """Return a moment of ours on their clock."""
        span = self.difference(instant.ns)
        return Aligned(Instant(instant.ns + (span.low + span.high) // 2, self.theirs), _half(span))

    def to_ours(self, instant: Instant) -> Aligned:
        """Return a moment of theirs on our clock."""
        ours = instant.ns - self._any_difference()
        for _ in range(3):  # the difference changes by less than 1/1000 of what we are off: three rounds are exact
            span = self.difference(ours)
            ours = instant.ns - (span.low + span.high) // 2
        return Aligned(Instant(ours, self.ours), _half(self.difference(ours)) + 1)

    def forget(self) -> None:
        """Drop what says nothing of the time to come: steps, and bursts before them or older than `WINDOW`."""
        self._eras = [era[-WINDOW:] for era in self._eras[-1:]]
        self.steps.clear()

    def moments(self) -> list[int]:
        """Return the moments of all bursts on our clock, and those that just precede or follow a step; in order."""
        found = [band.at for era in self._eras for band in era]
        for before, after in pairwise(self._eras):
            found += [before[-1].begin, before[-1].begin + 1, after[0].end, after[0].end + 1]
        return sorted(set(found))

    def bend(self, length_ns: int) -> int:
        """Return how far from a straight line the difference may go in between two moments so far apart, ns."""
        return int(self._wander * length_ns / 2) + 1

    def __repr__(self) -> str:
        bursts = sum(len(era) for era in self._eras)
        return f"<Relation of {self.theirs} to {self.ours}: {bursts} bursts, {len(self.steps)} steps>"

    def _any_difference(self) -> int:
        if not self._eras:
            return self.difference(0).low  # raises
        return (self._eras[-1][-1].low + self._eras[-1][-1].high) // 2

    def _lines(self, bands: Sequence[Band]) -> Lines:
        return Lines(bands, self._drift, self._wander)

    def _step(self, era: list[Band], band: Band) -> Step:
        expected = self._within(era, band.at)
        while len(era) > 1 and self._may_follow(era[-1], band, expected):
            era.pop()  # so vague that it may have been measured after the step
        size = (band.low + band.high) // 2 - (expected.low + expected.high) // 2
        step = Step(era[-1].begin, band.end, size)
        self.steps.append(step)
        return step

    def _may_follow(self, old: Band, new: Band, drifts: Span) -> bool:
        """Whether a line of a drift that is possible passes through both."""
        length = new.at - old.at
        fastest, slowest = drifts.fastest + self._wander, drifts.slowest - self._wander
        return new.low - old.high <= fastest * length and new.high - old.low >= slowest * length

    def _around(self, at: int) -> list[list[Band]]:
        """Return the eras that a moment may belong to: several, where a step may have been before or after it."""
        begun = bisect_left(self._eras, at, key=lambda era: era[0].end)
        passed = bisect_left(self._eras, at, key=lambda era: era[-1].begin)
        return self._eras[max(0, begun - 1) : passed + 1]

    def _within(self, era: list[Band], at: int) -> Span:
        middle = bisect_left(era, at, key=lambda band: band.at)
        for window in (WINDOW, 4, 1):  # fewer, should a long window hold more wander than is allowed for
            bands = era[max(0, middle - window) : middle + window]
            span = self._lines(bands).span(at)
            if span is not None:
                return span
        nearest = era[min(middle, len(era) - 1)]
        return Span(nearest.low, nearest.high, -self._drift, self._drift)


def align(instant: Instant, to: Domain, relations: Iterable[Relation]) -> Aligned:
    """Return a moment on another clock, and how far off that may be.

    Args:
        instant: the moment.
        to: the clock that is asked for.
        relations: what is known; used in either direction, and one after the other where no single one leads there.

    Raises:
        ClockDomainError: none of them leads from the one clock to the other.
    """
    known = list(relations)
    reached: dict[Domain, Aligned] = {instant.domain: Aligned(instant, 0)}
    frontier = deque([instant.domain])
    while frontier and to not in reached:
        domain = frontier.popleft()
        here = reached[domain]
        for relation in known:
            if relation.ours == domain and relation.theirs not in reached:
                there = relation.to_theirs(here.instant)
            elif relation.theirs == domain and relation.ours not in reached:
                there = relation.to_ours(here.instant)
            else:
                continue
            reached[there.instant.domain] = Aligned(there.instant, here.uncertainty_ns + there.uncertainty_ns)
            frontier.append(there.instant.domain)
    if to not in reached:
        raise ClockDomainError(f"nothing relates the {instant.domain} to the {to}; record probes between them")
    return reached[to]


def _half(span: Span) -> int:
    return (span.high - span.low + 1) // 2 + 1
