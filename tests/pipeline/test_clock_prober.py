"""Asking another machine for the time: when, how often, and what is made of answers that are late, lost or garbage."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clocks import HERE, MS, THERE, Clock, S

from pipeline.clock import Relation
from pipeline.clock_burst import Burst
from pipeline.clock_curve import Curve
from pipeline.clock_prober import BURST, EVERY_S, FIRST_S, TIMEOUT_S, Ask, Effect, Prober, Stepped, Tell

OURS, THEIRS = f"monotonic:{HERE.boot}", f"monotonic:{THERE.boot}"
WALL = 1_800_000_000 * S


class World:
    """A peer with a monotonic and a wall clock, at the end of ways that take different times there and back."""

    def __init__(self, *, seed: int = 0, mono: Clock | None = None, wall: Clock | None = None) -> None:
        self.now = 0
        self.rng = random.Random(seed)
        self.mono = mono or Clock(7 * S, 50.0)
        self.wall = wall or Clock(WALL, 50.0)
        self.boot = THEIRS
        self.prober = Prober("pilot1", OURS)
        self.told: list[Tell] = []
        self.asked: list[float] = []
        self.losses: set[int] = set()
        """Which probes get no answer, by number."""

    @property
    def now_s(self) -> float:
        return self.now / S

    def join(self) -> None:
        self.carry_out(self.prober.join(self.now_s))

    def run(self, until: int) -> None:
        """Let time pass, in ns."""
        while (due := self.prober.due) * S < until:
            self.now = max(self.now, math.ceil(due * S))
            self.carry_out(self.prober.on_tick(max(due, self.now_s)))
        self.now = until

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Tell):
                self.told.append(effect)
                continue
            self.asked.append(self.now_s)
            if effect.number not in self.losses:
                self.carry_out(self.answer(effect))

    def answer(self, ask: Ask) -> list[Effect]:
        sent = self.now
        there, back = (MS // 5 + int(self.rng.expovariate(1 / MS)) for _ in range(2))
        received, answered = sent + there, sent + there + 20_000
        stamps = {
            "received": self.mono.at(received),
            "wall": self.wall.at(received + 10_000),
            "answered": self.mono.at(answered),
            "clock": self.boot,
            "host": "box2",
        }
        self.now = answered + back
        return self.prober.on_answer(ask.number, sent, self.now, stamps, self.now_s)

    def bursts(self) -> list[Burst]:
        return [tell.burst for tell in self.told]

    def steps(self) -> list[Stepped]:
        return [step for tell in self.told for step in tell.steps]


def test_a_burst_at_joining_then_ever_more_slowly() -> None:
    """Eight probes each; the pauses double from one second to ten."""
    world = World()
    world.run(5 * S)
    assert not world.asked
    world.join()
    world.run(100 * S)

    starts = [burst.probes[0].sent / S for burst in world.bursts()]
    assert all(len(burst.probes) == BURST for burst in world.bursts())
    pauses = np.diff([5.0, *starts])
    assert pauses == pytest.approx([0, 1, 2, 4, 8] + [EVERY_S] * (len(starts) - 5), abs=0.1)


def test_whoever_comes_back_is_asked_at_once() -> None:
    """And often again."""
    world = World()
    world.join()
    world.run(60 * S)
    count = len(world.told)
    world.join()
    world.run(62 * S)
    assert count + 2 == len(world.told)


def test_one_probe_is_under_way_and_a_lost_one_ends_its_burst() -> None:
    """A peer that is silent is asked once every ten seconds; what was lost is told with the next burst."""
    world = World()
    world.losses = set(range(4, 9))
    world.join()
    world.run(40 * S)

    assert 5 == world.prober.lost
    assert [3, BURST] == [len(burst.probes) for burst in world.bursts()][:2]
    assert [1, 4] == [burst.lost for burst in world.bursts()][:2]
    assert max(world.asked[4:9]) - world.asked[3] == pytest.approx(1 + 2 + 4 + 8 + EVERY_S + 5 * TIMEOUT_S, abs=0.2)


def test_an_answer_that_comes_too_late_is_counted_and_not_used() -> None:
    """Its probe was given up."""
    world = World()
    (ask,) = world.prober.join(0.0)
    assert isinstance(ask, Ask)
    assert [] == world.prober.on_tick(TIMEOUT_S)
    assert [] == world.answer(ask)
    assert (1, 1) == (world.prober.lost, world.prober.refused)
    assert [] == world.prober.on_loss(ask.number, 3.0)
    assert 1 == world.prober.lost


GOOD = {"received": 5, "wall": 6, "answered": 7, "clock": THEIRS, "host": "h"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        {},
        np.zeros(3),
        {**GOOD, "received": -1},
        {**GOOD, "received": 2**62},
        {**GOOD, "received": 2**80},
        {**GOOD, "received": 1.5},
        {**GOOD, "answered": 4},
        {**GOOD, "answered": 10**9},
        {**GOOD, "clock": "utc"},
        {**GOOD, "clock": 3},
        {**GOOD, "clock": "monotonic:" + "x" * 300},
        {**GOOD, "host": b"h"},
    ],
)
def test_an_answer_that_cannot_be_is_counted(value: Any) -> None:
    """It raises nothing, and the burst goes on without it."""
    prober = Prober("pilot1", OURS)
    (ask,) = prober.join(0.0)
    assert isinstance(ask, Ask)
    (after,) = prober.on_answer(ask.number, 100, 1100, value, 0.0)
    assert isinstance(after, Ask)
    assert 1 == prober.refused
    assert prober.state(2000, 2000) is None


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_nothing_that_a_peer_answers_raises(data: st.DataObject) -> None:
    """Whatever its clocks say, forwards or back, near or far."""
    stamp = st.integers(-1, 2**62)
    prober = Prober("pilot1", OURS)
    effects = prober.join(0.0)
    for now in range(1000, 200_000, 1000):
        if asked := [effect for effect in effects if isinstance(effect, Ask)]:
            received = data.draw(stamp)
            value = {**GOOD, "received": received, "answered": received + 1, "wall": data.draw(stamp)}
            effects = prober.on_answer(asked[0].number, now, now + 900, value, now / S)
        else:
            effects = prober.on_tick(prober.due)
        prober.state(now, WALL)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), ppm=st.floats(-60, 60), step=st.sampled_from([-200 * MS, 200 * MS]))
def test_aligned_times_are_within_the_stated_uncertainty_through_a_step(seed: int, ppm: float, step: int) -> None:
    """From the bursts that were told, as any reader of a recording would."""
    world = World(seed=seed, mono=Clock(7 * S, ppm))
    world.mono.steps.append((47 * S, step))
    world.join()
    world.run(120 * S)

    relation = Relation(HERE, THERE)
    for burst in world.bursts():
        relation.add([answered.probe() for answered in burst.probes])
    ours = np.array([world.rng.randrange(0, 125 * S) for _ in range(300)])
    aligned, off = Curve(relation).to_ours([world.mono.at(int(now)) for now in ours])
    assert np.all(np.abs(aligned - ours) <= off)
    assert np.median(off) < 2 * MS
    (told,) = [step for step in world.steps() if step.clock == "monotonic"]
    assert told.after_ns <= 47 * S <= told.before_ns
    assert abs(told.size_ns - step) < 4 * MS


def test_a_step_of_the_wall_clock_alone_is_seen_and_asked_after() -> None:
    """Its monotonic clock goes on; the next burst follows a second later."""
    world = World()
    world.wall.steps.append((50 * S, 200 * MS))
    world.join()
    world.run(90 * S)

    (step,) = world.steps()
    assert ("wall", "pilot1") == (step.clock, step.name)
    assert abs(step.size_ns - 200 * MS) < MS
    assert step.after_ns < world.mono.at(50 * S) < step.before_ns
    starts = [tell.burst.probes[0].sent for tell in world.told]
    (found,) = [index for index, tell in enumerate(world.told) if tell.steps]
    assert starts[found + 1] - starts[found] < 1.2 * FIRST_S * S


def test_the_state_says_offset_drift_and_age() -> None:
    """The truth is within the stated bounds."""
    world = World()
    world.join()
    world.run(64 * S)
    state = world.prober.state(world.now, WALL + world.now)
    assert state is not None
    assert abs(state.offset_ns - (world.mono.at(world.now) - world.now)) <= state.uncertainty_ns < 3 * MS
    assert abs(state.wall_offset_ns - (world.wall.at(world.now) - WALL - world.now)) <= state.uncertainty_ns
    assert abs(state.drift_ppm - 50) <= state.drift_uncertainty_ppm < 60
    assert 0 < state.age_s <= EVERY_S
    assert ("box2", 0, 0) == (state.host, state.lost, state.refused)


def test_a_machine_that_was_started_anew_has_another_clock() -> None:
    """Not a step: its new boot is compared from the beginning, and told as such."""
    world = World()
    world.join()
    world.run(20 * S)
    world.boot, world.mono = "monotonic:new", Clock(0, -20.0)
    world.join()
    world.run(30 * S)
    assert not [step for step in world.steps() if step.clock == "monotonic"]
    assert {THEIRS, "monotonic:new"} == {burst.theirs for burst in world.bursts()}
    state = world.prober.state(world.now, WALL)
    assert state is not None
    assert abs(state.offset_ns - (world.mono.at(world.now) - world.now)) <= state.uncertainty_ns


def test_a_day_of_bursts_is_not_kept() -> None:
    """What the prober needs of the past is bounded, whoever asks for how long."""
    world = World()
    world.join()
    world.run(1000 * S)
    assert len(world.told) > 90
    mono = world.prober._mono
    assert mono is not None
    assert len(mono.moments()) <= 33
