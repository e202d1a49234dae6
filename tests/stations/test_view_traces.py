"""Traces: every sample is in the least-to-greatest bar of its bucket, however it arrived."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stations.view.traces import FULL, GAP, MAX_CHANNELS, MAX_POINTS, TraceWindow, nice, window_for


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 50)), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(2, 12),
)
def test_buckets_hold_the_extremes_of_their_samples(runs: list[tuple[int, int]], step: int, buckets: int) -> None:
    """Whatever the runs and the gaps between them, a bucket is the least and greatest of its samples that came."""
    window = TraceWindow(2, step=step, buckets=buckets)
    values = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    came, sequence = np.zeros(len(values), bool), 0
    for gap, count in runs:
        sequence += gap
        window.add(sequence, values[sequence : sequence + count])
        came[max(sequence, sequence + count - buckets * step) : sequence + count] = True
        sequence += count

    low, high = window.newest()

    newest = (sequence - 1) // step
    for index, number in enumerate(range(newest - buckets + 1, newest + 1)):
        chosen = slice(max(0, number * step), max(0, (number + 1) * step))
        expected = values[chosen][came[chosen]]
        if len(expected) == 0:
            assert np.isnan(low[index]).all()
        elif number > newest - buckets + 1:  # a long run leaves out what only fills a part of the oldest bucket
            np.testing.assert_array_equal(expected.min(axis=0), low[index])
            np.testing.assert_array_equal(expected.max(axis=0), high[index])


def test_samples_seen_before_are_left_out() -> None:
    """Reading the same run again changes nothing."""
    window = TraceWindow(1, step=4, buckets=8)
    samples = np.arange(20, dtype=np.int16).reshape(20, 1)

    window.add(0, samples)
    before = window.newest()
    window.add(0, samples)

    assert 20 == window.end
    np.testing.assert_array_equal(before, window.newest())


def test_window_of_a_fast_stream_is_bounded_and_covers_its_seconds() -> None:
    """30 kHz, 40 channels: at most 600 buckets of the first 32, two seconds long."""
    window = window_for(40, 30_000, seconds=2.0)

    assert MAX_CHANNELS == window.channels
    assert window.buckets <= MAX_POINTS
    assert window.buckets * window.step >= 60_000


def test_gaps_are_marked_and_spikes_survive() -> None:
    """A bucket without samples is GAP; one sample among thousands still reaches the top of the lane."""
    window = TraceWindow(1, step=1000, buckets=5)
    samples = np.zeros((1000, 1), np.float32)
    samples[500] = 10
    window.add(0, samples)
    window.add(3000, np.zeros((1000, 1), np.float32))

    levels = window.draw(rate=1000, own_scale=True).levels[0]

    assert [False, True, True, False] == [bool((bar == GAP).all()) for bar in levels[1:]]
    assert levels[1, 1] > 0.8 * FULL


def test_shared_gain_compares_channels_and_own_scale_fills_lanes() -> None:
    """Electrodes share microvolts per lane; named channels of different units do not."""
    window = TraceWindow(2, step=1, buckets=100)
    wave = np.sin(np.arange(100) / 5)
    window.add(0, np.stack([wave, 100 * wave], axis=1))

    shared = np.ptp(window.draw(rate=10, own_scale=False).levels.astype(int), axis=(1, 2))
    own = np.ptp(window.draw(rate=10, own_scale=True).levels.astype(int), axis=(1, 2))

    assert shared[0] < 0.05 * shared[1]
    assert own[0] > 0.9 * own[1]
    assert 10.0 == window.draw(rate=10, own_scale=True).span_s


def test_scales_move_in_steps_of_one_two_five() -> None:
    """Lines do not breathe with every sample."""
    assert [1.0, 1.0, 2.0, 5.0, 10.0, 0.05] == [nice(value) for value in (0.0, 1.0, 1.01, 2.1, 9.0, 0.03)]
    assert 1.0 == nice(float("nan"))
