"""Credit: what was granted always fits, and never falls."""

from __future__ import annotations

import pytest

from pipeline.credit import Allowance, Grant, window_blocks


def test_a_block_leaves_only_within_the_limit() -> None:
    """Spent and cost together stay at or below the limit."""
    allowance = Allowance()
    allowance.reset(250)
    assert allowance.can_spend(100)
    allowance.spend(100)
    allowance.spend(100)
    assert not allowance.can_spend(100)
    allowance.raise_to(300)
    assert allowance.can_spend(100)


def test_a_late_older_limit_changes_nothing() -> None:
    """Limits only rise until the next connection."""
    allowance = Allowance()
    allowance.reset(300)
    allowance.raise_to(200)
    assert 300 == allowance.limit
    allowance.reset(100)
    assert 100 == allowance.limit


def test_grant_never_exceeds_the_room_of_the_ring() -> None:
    """Whatever the window, what is out fits."""
    grant = Grant(cost=10, window=8)
    assert 30 == grant.reset(room=3)
    grant.accept()
    assert 30 == grant.limit(room=2)
    assert not grant.is_due(room=2)
    assert grant.is_due(room=5)
    assert 60 == grant.limit(room=5)


def test_grant_does_not_fall_when_room_does() -> None:
    """A reader that joins and needs old blocks does not take back what was promised."""
    grant = Grant(cost=10, window=8)
    assert 80 == grant.reset(room=100)
    assert 80 == grant.limit(room=0)


@pytest.mark.parametrize(
    ("cost", "blocks_per_s", "slots", "expected"),
    [
        (1_000_000, 60.0, 180, 22),
        (1_000_000, 60.0, 20, 10),
        (70_000, None, 1000, 119),
        (8_000_000, 1.0, 6, 3),
        (10, 1.0, 1, 1),
    ],
)
def test_window_follows_rate_and_ring(cost: int, blocks_per_s: float | None, slots: int, expected: int) -> None:
    """Round trip times rate, at least 8 MiB, at most half the ring."""
    assert expected == window_blocks(cost, blocks_per_s, slots)
