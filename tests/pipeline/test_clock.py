"""Clocks of other machines: what is said of them is true, and what is not known is said."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clocks import HERE, MS, THERE, Clock, S, burst

from pipeline.clock import Probe, Relation, align
from pipeline.clock_curve import UNKNOWN, Curve
from pipeline.clock_domain import Device, Instant, Mono, Wall
from pipeline.errors import ClockDomainError


def watched(clock: Clock, seconds: int, rng: random.Random, relation: Relation, start: int = 0) -> None:
    for second in range(start, seconds, 2):
        relation.add(burst(clock, second * S, rng))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), ppm=st.floats(-100, 100), offset=st.integers(-(10**15), 10**15))
def test_the_error_is_within_the_stated_uncertainty(seed: int, ppm: float, offset: int) -> None:
    """Whatever the drift and however asymmetric the ways: the truth is where it is said to be, before, in and after."""
    rng, clock, relation = random.Random(seed), Clock(offset, ppm), Relation(HERE, THERE)
    watched(clock, 60, rng, relation)

    for now in [rng.randrange(0, 60 * S) for _ in range(5)] + [90 * S]:
        there = relation.to_theirs(Instant(now, HERE))
        assert abs(there.instant.ns - clock.at(now)) <= there.uncertainty_ns
        here = relation.to_ours(Instant(clock.at(now), THERE))
        assert abs(here.instant.ns - now) <= here.uncertainty_ns


def test_a_step_of_200_ms_under_50_ppm_is_found_and_bounded() -> None:
    """The step is told with size and place; on both sides of it times are good to half a millisecond."""
    rng, clock, relation = random.Random(1), Clock(7 * S, 50.0), Relation(HERE, THERE)
    clock.steps.append((61 * S, 200 * MS))
    watched(clock, 120, rng, relation)

    (step,) = relation.steps
    assert step.after <= 61 * S <= step.before
    assert abs(step.size_ns - 200 * MS) < MS
    for now in (10 * S, 59 * S, 63 * S, 119 * S):
        there = relation.to_theirs(Instant(now, HERE))
        assert abs(there.instant.ns - clock.at(now)) <= there.uncertainty_ns < MS // 2
    beside = relation.to_theirs(Instant(61 * S - 1, HERE))  # nobody knows when between two bursts it was
    assert abs(beside.instant.ns - clock.at(61 * S - 1)) <= beside.uncertainty_ns
    assert beside.uncertainty_ns >= 100 * MS


def test_uncertainty_grows_with_the_time_since_the_last_probe() -> None:
    """Nothing is promised of a clock that was not asked for an hour."""
    rng, clock, relation = random.Random(2), Clock(0, 20.0), Relation(HERE, THERE)
    watched(clock, 60, rng, relation)

    soon, late = (relation.to_theirs(Instant(at * S, HERE)).uncertainty_ns for at in (60, 3660))
    assert soon < late
    assert abs(relation.to_theirs(Instant(3660 * S, HERE)).instant.ns - clock.at(3660 * S)) <= late


def test_times_of_different_clocks_cannot_be_subtracted() -> None:
    """The error names both clocks and the way out."""
    with pytest.raises(ClockDomainError, match=r"terminal.*pilot1.*align"):
        Instant(5, HERE) - Instant(3, THERE)
    with pytest.raises(ClockDomainError, match="camera"):
        assert Instant(5, HERE) < Instant(3, Device("camera"))
    assert Instant(5, HERE) - Instant(3, HERE) == 2


def test_align_crosses_several_clocks_and_adds_what_is_not_known() -> None:
    """From a Pilot's clock over the Terminal's to the Terminal's wall clock."""
    rng, clock = random.Random(3), Clock(3 * S, -30.0)
    pilot, wall = Relation(HERE, THERE), Relation(HERE, Wall("terminal"))
    watched(clock, 60, rng, pilot)
    for second in range(0, 60, 10):
        wall.add([Probe(second * S, second * S + 10**18, second * S + 10**18, second * S + 1000)])

    found = align(Instant(clock.at(30 * S), THERE), Wall("terminal"), [wall, pilot])
    one = pilot.to_ours(Instant(clock.at(30 * S), THERE))
    assert abs(found.instant.ns - (30 * S + 10**18)) <= found.uncertainty_ns
    assert found.uncertainty_ns > one.uncertainty_ns


def test_align_refuses_what_nothing_relates() -> None:
    """No guess is made, before the first probe neither."""
    with pytest.raises(ClockDomainError, match="nothing relates"):
        align(Instant(0, HERE), THERE, [])
    with pytest.raises(ClockDomainError, match="not compared yet"):
        align(Instant(0, HERE), THERE, [Relation(HERE, THERE)])


def test_answers_that_cannot_be_true_are_left_out() -> None:
    """A probe that came back before it could is no measurement."""
    relation = Relation(HERE, THERE)
    assert relation.add([Probe(sent=10, received=5, answered=500, returned=20)]) is None
    with pytest.raises(ClockDomainError):
        relation.difference(0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    ppm=st.floats(-100, 100),
    offset=st.integers(0, 10**15),
    step=st.sampled_from([-200 * MS, 0, 200 * MS, 10 * S]),
)
def test_arrays_of_times_are_bounded_through_a_step(seed: int, ppm: float, offset: int, step: int) -> None:
    """Both ways, before, beside and after a step forward or back, however asymmetric the ways: the truth is within."""
    rng, clock, relation = random.Random(seed), Clock(offset, ppm), Relation(HERE, THERE)
    clock.steps.append((61 * S, step))
    clock.rates += [(at * S, by) for at, by in ((40, 9.0), (47, -18.0), (71, 18.0), (93, -12.0))]  # NTP at work
    for second in range(30, 120, 10):
        relation.add(burst(clock, second * S, rng))
    assert len(relation.steps) == (step != 0)
    ours = np.array([*(rng.randrange(5 * S, 200 * S) for _ in range(200)), 61 * S - 1, 61 * S, 3600 * S])
    theirs = np.array([clock.at(int(now)) for now in ours])

    curve = Curve(relation)
    there, off = curve.to_theirs(ours)
    assert np.all(np.abs(there - theirs) <= off)
    here, off = curve.to_ours(theirs)
    assert np.all(np.abs(here - ours) <= off)
    assert np.median(off[(ours > 30 * S) & (ours < 50 * S)]) < MS


def test_arrays_say_what_single_times_say() -> None:
    """Little more is allowed for than where each time is asked for by itself."""
    rng, clock, relation = random.Random(4), Clock(7 * S, 50.0), Relation(HERE, THERE)
    watched(clock, 60, rng, relation)
    ours = np.arange(S, 58 * S, S // 3)

    _, off = Curve(relation).to_theirs(ours)
    single = [relation.to_theirs(Instant(int(now), HERE)).uncertainty_ns for now in ours]
    assert np.all(off >= np.array(single) - 10)
    assert np.all(off <= np.array(single) + 20_000)


def test_times_that_no_probe_can_tell_of_are_unknown() -> None:
    """A stamp that is garbage spoils nothing beside it."""
    relation = Relation(HERE, THERE)
    relation.add(burst(Clock(7 * S, 50.0), 0, random.Random(5)))
    _, off = Curve(relation).to_ours([-(2**63), 8 * S, 2**63 - 1])
    assert [UNKNOWN, UNKNOWN] == [int(off[0]), int(off[2])]
    assert off[1] < MS
    with pytest.raises(ClockDomainError, match="not compared yet"):
        Curve(Relation(HERE, THERE))


def test_a_ring_names_its_clock_by_the_boot() -> None:
    """What else a text says is refused, with what was expected."""
    assert Mono("box", "12-ab") == Mono.of("monotonic:12-ab", "box")
    for wrong in ("", "monotonic:", "tai:12-ab"):
        with pytest.raises(ClockDomainError, match="expected monotonic:<boot id>"):
            Mono.of(wrong)


def one_way_slow(clock: Clock, now: int, *, there: int, back: int) -> Probe:
    """Ask once over ways of these lengths."""
    received, answered = now + there, now + there + 30_000
    return Probe(now, clock.at(received), clock.at(answered), answered + back)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    ppm=st.floats(-50, 50),
    step=st.sampled_from([-200 * MS, 200 * MS]),
    step_at=st.integers(101 * S, 109 * S),
    vague=st.integers(1, 3),
    ways=st.sampled_from([(10_000, 400 * MS), (400 * MS, 10_000), (300 * MS, 300 * MS)]),
)
def test_a_burst_too_vague_to_show_a_step_does_not_hide_when_it_was(
    *, seed: int, ppm: float, step: int, step_at: int, vague: int, ways: tuple[int, int]
) -> None:
    """The way is congested as the clock is set: until it is good again nobody knows on which side a time was."""
    rng, clock, relation = random.Random(seed), Clock(7 * S, ppm), Relation(HERE, THERE)
    clock.steps.append((step_at, step))
    for second in range(0, 110, 10):
        relation.add(burst(clock, second * S, rng))
    for number in range(vague):
        relation.add([one_way_slow(clock, (110 + 10 * number) * S, there=ways[0], back=ways[1])])
    for second in range(150, 200, 10):
        relation.add(burst(clock, second * S, rng))

    (found,) = relation.steps
    assert found.after <= step_at <= found.before
    ours = np.array([*range(90 * S, 160 * S, 50 * MS), step_at - 1, step_at])
    here, off = Curve(relation).to_ours([clock.at(int(now)) for now in ours])
    assert np.all(np.abs(here - ours) <= off)
    for now in (step_at - 1, step_at, step_at + S):
        there = relation.to_theirs(Instant(now, HERE))
        assert abs(there.instant.ns - clock.at(now)) <= there.uncertainty_ns


@pytest.mark.parametrize(("there", "back", "after"), [(8, 1, 6), (1, 8, 2)])
@pytest.mark.parametrize("size", [-200 * MS, 200 * MS])
def test_a_step_while_a_probe_is_under_way_may_be_on_either_side_of_it(
    there: int, back: int, after: int, size: int
) -> None:
    """Of the time between question and answer nobody knows to which era it belongs."""
    clock, relation = Clock(7 * S, 0.0), Relation(HERE, THERE)
    clock.steps.append((30 * S + after * MS, size))
    for second in range(0, 70, 10):
        relation.add([one_way_slow(clock, second * S, there=there * MS, back=back * MS)])
    ours = np.arange(30 * S - 10 * MS, 30 * S + 20 * MS, MS // 10)
    here, off = Curve(relation).to_ours([clock.at(int(now)) for now in ours])
    assert np.all(np.abs(here - ours) <= off)
    for now in ours:
        found = relation.to_theirs(Instant(int(now), HERE))
        assert abs(found.instant.ns - clock.at(int(now))) <= found.uncertainty_ns


def test_a_wall_clock_is_compared_to_the_nanosecond() -> None:
    """Its difference is greater than a float tells exactly."""
    away, relation = 1_795_246_415_690_778_051, Relation(THERE, Wall("pilot1"))
    for second in range(0, 100, 10):
        now = second * S
        relation.add([Probe(now, now + away, now + away, now + 2)])
        span = relation.difference(now + 1)
        assert span.low <= away <= span.high <= span.low + 10
