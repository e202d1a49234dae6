"""When to ask another machine for the time, and what its answers say.  A state machine without I/O.

idle ── `join`, or it is time ──► asking ── `BURST` answers, or one that does not come ──► idle

One probe is under way at a time.  After `join` the pauses grow from `FIRST_S` to `EVERY_S`, so that a recording that is
short, or has just begun, knows the drift too; a step shortens them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .clock import Probe, Relation
from .clock_burst import Answered, Burst, Stamps
from .clock_domain import Instant, Mono, Wall
from .errors import ClockDomainError

BURST: Final = 8
"""Probes of a burst; the quickest of them counts."""
EVERY_S: Final = 10.0
FIRST_S: Final = 1.0
TIMEOUT_S: Final = 2.0
"""A probe without an answer is lost then, and its burst over."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a probe; hand the answer back under the same number."""

    name: str
    number: int


class Stepped(msgspec.Struct, frozen=True, kw_only=True):
    """A clock of another machine was set, or stood still while the machine slept.

    Attributes:
        name: who was asked.
        clock: ``monotonic``, beside ours, or ``wall``, beside its monotonic one.
        after_ns: it was after this, on the clock beside which it is seen.
        before_ns: and before this.
        size_ns: how far it jumped.
    """

    name: str
    clock: str
    after_ns: int
    before_ns: int
    size_ns: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Record a burst, and what it reveals."""

    burst: Burst
    steps: tuple[Stepped, ...]


Effect = Ask | Tell


class ClockState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now of another machine's clocks."""

    host: str
    offset_ns: int
    """Its monotonic clock minus ours; near 0 only on the same machine."""
    wall_offset_ns: int
    """Its wall clock minus ours."""
    uncertainty_ns: int
    """Of either."""
    drift_ppm: float
    """How much faster its monotonic clock runs than ours."""
    drift_uncertainty_ppm: float
    age_s: float
    """Since the last burst."""
    bursts: int
    steps: int
    lost: int
    refused: int


class Prober:
    """Asks one machine for the time.

    Args:
        name: its address.
        ours: name of the clock of `sent` and `returned`, ``monotonic:<boot id>``.

    Attributes:
        lost: probes that were not answered in time.
        refused: answers that cannot be, or that nobody waited for any more.
        bursts: bursts with at least one answer.
        steps: jumps of its clocks.
    """

    def __init__(self, name: str, ours: str) -> None:
        self.name = name
        self.lost = self.refused = self.bursts = self.steps = 0
        self._ours = Mono.of(ours)
        self._ours_name = ours
        self._theirs_name = ""
        self._host = ""
        self._mono: Relation | None = None
        self._wall: Relation | None = None
        self._answers: list[Answered] = []
        self._told = (0, 0)
        self._number = 0
        self._is_asking = False
        self._left = 0
        self._due = math.inf
        self._pause_s = FIRST_S

    @property
    def due(self) -> float:
        """When `on_tick` has something to do, s."""
        return self._due

    def join(self, now: float) -> list[Effect]:
        """It came, or came back: ask at once, and often at first."""
        self._pause_s = FIRST_S
        if not self._is_asking:
            self._due = now
        return self.on_tick(now)

    def on_tick(self, now: float) -> list[Effect]:
        """Look at the clock."""
        if now < self._due:
            return []
        if self._is_asking:
            return self.on_loss(self._number, now)
        self._left = BURST
        return [self._ask(now)]

    def on_answer(self, number: int, sent: int, returned: int, value: Any, now: float) -> list[Effect]:
        """Take an answer.

        Args:
            number: of the probe.
            sent: when it went, ns on our clock.
            returned: when the answer came.
            value: `Stamps` as plain data, or whatever was answered.
            now: s.
        """
        if not self._is_asking or number != self._number:
            self.refused += 1
            return []
        self._left -= 1
        effects: list[Effect] = self._take(sent, returned, value)
        return [*effects, *([self._ask(now)] if self._left else self._end(now))]

    def on_loss(self, number: int, now: float) -> list[Effect]:
        """A probe will not be answered: the rest of its burst is not asked."""
        if not self._is_asking or number != self._number:
            return []
        self.lost += 1
        return self._end(now)

    def state(self, monotonic_ns: int, wall_ns: int) -> ClockState | None:
        """Return what is known at a moment of ours, read on both of our clocks; None before the first burst."""
        if self._mono is None or self._wall is None or not self._mono.is_known:
            return None
        there = self._mono.to_theirs(Instant(monotonic_ns, self._ours))
        wall = self._wall.to_theirs(there.instant)
        span = self._mono.difference(monotonic_ns)
        return ClockState(
            host=self._host,
            offset_ns=there.instant.ns - monotonic_ns,
            wall_offset_ns=wall.instant.ns - wall_ns,
            uncertainty_ns=there.uncertainty_ns + wall.uncertainty_ns,
            drift_ppm=(span.fastest + span.slowest) / 2 * 1e6,
            drift_uncertainty_ppm=(span.fastest - span.slowest) / 2 * 1e6,
            age_s=(monotonic_ns - self._mono.moments()[-1]) / 1e9,
            bursts=self.bursts,
            steps=self.steps,
            lost=self.lost,
            refused=self.refused,
        )

    def __repr__(self) -> str:
        return f"<Prober {self.name} bursts={self.bursts} steps={self.steps} lost={self.lost} refused={self.refused}>"

    def _ask(self, now: float) -> Ask:
        self._number += 1
        self._is_asking = True
        self._due = now + TIMEOUT_S
        return Ask(self.name, self._number)

    def _take(self, sent: int, returned: int, value: Any) -> list[Effect]:
        """Keep an answer that can be; one of another boot begins a burst of its own."""
        try:
            stamps = msgspec.convert(value, Stamps)
            theirs = Mono.of(stamps.clock, stamps.host)
        except (msgspec.ValidationError, ClockDomainError):
            self.refused += 1
            return []
        answered = Answered(sent, stamps.received, stamps.answered, returned, stamps.wall)
        if not answered.probe().is_possible:
            self.refused += 1
            return []
        told: list[Effect] = []
        if stamps.clock != self._theirs_name:
            told += self._tell()
            self._theirs_name, self._host = stamps.clock, stamps.host
            self._mono, self._wall = Relation(self._ours, theirs), Relation(theirs, Wall(stamps.host))
        self._answers.append(answered)
        return told

    def _end(self, now: float) -> list[Effect]:
        self._is_asking = False
        told = self._tell()
        if any(tell.steps for tell in told):
            self._pause_s = FIRST_S
        self._due = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, EVERY_S)
        return [*told]

    def _tell(self) -> list[Tell]:
        if not self._answers or self._mono is None or self._wall is None:
            return []
        steps = (
            *self._stepped("monotonic", self._mono, [answered.probe() for answered in self._answers]),
            *self._stepped("wall", self._wall, [answered.wall_probe() for answered in self._answers]),
        )
        burst = Burst(
            name=self.name,
            ours=self._ours_name,
            theirs=self._theirs_name,
            host=self._host,
            lost=self.lost - self._told[0],
            refused=self.refused - self._told[1],
            probes=self._answers,
        )
        self._answers, self._told = [], (self.lost, self.refused)
        self.bursts += 1
        self.steps += len(steps)
        return [Tell(burst, steps)]

    def _stepped(self, clock: str, relation: Relation, probes: Sequence[Probe]) -> list[Stepped]:
        step = relation.add(probes)
        relation.forget()
        if step is None:
            return []
        return [Stepped(name=self.name, clock=clock, after_ns=step.after, before_ns=step.before, size_ns=step.size_ns)]
