"""Bytes a second: what leaves never exceeds the rate by more than a burst and one block."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.budget import BURST_S, Budget

SIZES = st.integers(1, 5_000_000)


@given(rate=st.floats(1e3, 1e9), steps=st.lists(st.tuples(st.floats(0, 2), SIZES), min_size=1, max_size=100))
def test_the_rate_is_kept_whatever_is_asked_when(rate: float, steps: list[tuple[float, int]]) -> None:
    """Over any time from the beginning: rate x time, a burst, and the block that overdrew it."""
    budget, now, spent, largest = Budget(rate), 0.0, 0, 0
    for pause, size in steps:
        now += pause
        if budget.allows(now):
            budget.spend(size)
            spent, largest = spent + size, max(largest, size)
        assert spent <= rate * (now + BURST_S) * (1 + 1e-9) + largest


def test_a_block_larger_than_a_burst_leaves_and_the_next_waits_for_it() -> None:
    """A second of budget at once takes a second."""
    budget = Budget(1000.0)
    assert budget.allows(0.0)
    budget.spend(1000)
    assert [False, False, True] == [budget.allows(now) for now in (0.5, 0.99, 1.01)]
