"""A stream that need not be whole, over a link that is too slow: evenly thinned out, and whole again when it can be."""

from __future__ import annotations

import itertools

from support.forwarding import Pipe

from pipeline.budget import Budget
from pipeline.forward_stream import ForwardStream
from pipeline.ladder import DOWN_S, IMAGES, OTHERS, UP_S, Ladder
from pipeline.losses import LINK
from pipeline.stream_spec import StreamSpec

SPEC = StreamSpec(stream="pilot1.cam0", birth=1, dtype='"<i8"', shape=(1,), block_items=1, slots=64)


def lose_for(ladder: Ladder, begin: float, seconds: float) -> float:
    """Lose blocks all the time; return when that ended."""
    for tenth in range(round(seconds * 10)):
        ladder.lost(begin + tenth / 10)
    return begin + seconds


def test_losses_take_it_down_step_by_step_and_no_further_than_the_last() -> None:
    """One loss alone does nothing."""
    ladder = Ladder()
    ladder.lost(0.0)
    assert ladder.rung.one_of == 1
    steps = []
    for number in range(1, 6):
        ladder.lost(number * DOWN_S)
        steps.append(ladder.rung.one_of)
    assert [2, 5, 30, 30, 30] == steps


def test_a_good_link_takes_it_up_again() -> None:
    """A step each `UP_S`."""
    ladder = Ladder()
    now = lose_for(ladder, 0.0, 5.0)
    assert ladder.rung == OTHERS[-1]
    factors = []
    for _ in range(4):
        ladder.tick(now + UP_S - 0.2)
        factors.append(ladder.rung.one_of)
        now += UP_S
        ladder.tick(now)
    assert [30, 5, 2, 1] == factors


def test_a_step_up_that_did_not_hold_is_tried_more_rarely() -> None:
    """Or the picture would stutter every five seconds for ever."""
    ladder = Ladder()
    ladder.lost(0.0)
    ladder.lost(DOWN_S)
    now = DOWN_S + UP_S
    ladder.tick(now)
    assert ladder.rung.one_of == 1
    ladder.lost(now + 0.1)
    ladder.lost(now + 0.1 + DOWN_S)
    assert ladder.rung.one_of == 2
    now += 0.1 + DOWN_S
    ladder.tick(now + UP_S)
    assert ladder.rung.one_of == 2
    ladder.tick(now + 2 * UP_S)
    assert ladder.rung.one_of == 1


def test_a_slow_link_gets_evenly_spaced_blocks_and_every_other_one_is_told() -> None:
    """A source of 100 a second over a link of 30: a third would come in bursts, a fifth comes evenly."""
    stream = ForwardStream(SPEC, origin=0, start=0, keep=4, most=4, ladder=Ladder())
    pipe = Pipe(stream, blocks_per_s=30.0)
    pipe.run(source_per_s=100.0, seconds=30.0)
    gaps = [after - before for before, after in itertools.pairwise(pipe.arrived)]
    assert gaps.count(5) >= 0.5 * len(gaps)
    assert {5} == set(gaps[-50:])  # it tries less and less often whether more would go
    assert pipe.accounted == pipe.arrived[-1] + 1
    assert set(pipe.reasons) == {LINK}


def test_images_get_smaller_before_they_get_fewer() -> None:
    """Full, downsampled, decimated, thumbnails."""
    ladder = Ladder(IMAGES)
    now, found = 0.0, []
    for _ in IMAGES:
        found.append((ladder.rung.name, ladder.rung.one_of, ladder.rung.scale))
        now = lose_for(ladder, now, DOWN_S + 0.1)
    assert [("full", 1, 1), ("downsampled", 1, 2), ("decimated", 5, 2), ("thumbnails", 30, 8)] == found


def test_a_budget_thins_out_as_a_slow_link_does() -> None:
    """A source of 100 blocks a second, a link of 1000, and bytes for 30."""
    budget = Budget(30_000.0)
    stream = ForwardStream(SPEC, origin=0, start=0, keep=4, most=4, ladder=Ladder(), budget=budget)
    pipe = Pipe(stream, blocks_per_s=1000.0, budget=budget, block_bytes=1000)
    pipe.run(source_per_s=100.0, seconds=20.0)
    gaps = [after - before for before, after in itertools.pairwise(pipe.arrived)]
    assert gaps.count(5) >= 0.5 * len(gaps)
    assert len(pipe.arrived) <= 30 * 20 + 4
    assert set(pipe.reasons) == {LINK}


def test_a_fast_link_gets_everything() -> None:
    """Nothing is left out without need."""
    stream = ForwardStream(SPEC, origin=0, start=0, keep=4, most=4, ladder=Ladder())
    pipe = Pipe(stream, blocks_per_s=300.0)
    pipe.run(source_per_s=100.0, seconds=5.0)
    assert list(range(len(pipe.arrived))) == pipe.arrived
