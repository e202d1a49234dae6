"""Clocks that drift and are set, and ways between them that take their time; a test's own time is the world's."""

from __future__ import annotations

import random

from pipeline.clock import Probe
from pipeline.clock_domain import Mono

HERE, THERE = Mono("terminal", "a" * 32), Mono("pilot1", "b" * 32)
MS = 1_000_000
S = 1000 * MS


class Clock:
    """A clock that drifts, wanders a little and can be stepped; times of the world are ns of `HERE`."""

    def __init__(self, offset: int, ppm: float) -> None:
        self.offset, self.ppm = offset, ppm
        self.steps: list[tuple[int, int]] = []
        self.rates: list[tuple[int, float]] = []
        """By how many ppm the rate changes, and when."""

    def at(self, now: int) -> int:
        jumped = sum(size for moment, size in self.steps if now >= moment)
        bent = sum(round((now - moment) * ppm * 1e-6) for moment, ppm in self.rates if now >= moment)
        return now + round(now * self.ppm * 1e-6) + self.offset + jumped + bent


def burst(clock: Clock, now: int, rng: random.Random, *, probes: int = 8, way: int = 200_000) -> list[Probe]:
    """Ask a few times, over ways that take different and changing times there and back."""
    found = []
    for _ in range(probes):
        there, back = (way + int(rng.expovariate(1 / (3 * way))) for _ in range(2))
        received, answered = now + there, now + there + 30_000
        found.append(Probe(now, clock.at(received), clock.at(answered), answered + back))
        now = answered + back + 100_000
    return found
