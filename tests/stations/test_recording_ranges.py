"""Sets of runs against sets of numbers, and the reasons of holes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stations.recording.continuity import BirthAccount, Gap, explain, join_gaps
from stations.recording.ranges import Ranges

RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda run: (run[0], sum(run))), max_size=12)


@given(RUNS)
def test_ranges_are_a_set(runs: list[tuple[int, int]]) -> None:
    """Whatever is added in whatever order, the runs are the set's, disjoint, and each add says what it knew."""
    ranges, model = Ranges(), set[int]()
    for first, end in runs:
        assert len(model & set(range(first, end))) == ranges.add(first, end)
        model |= set(range(first, end))

    assert model == {item for first, end in ranges for item in range(first, end)}
    assert len(model) == len(ranges)
    assert all(end < first for (_, end), (first, _) in zip(list(ranges), list(ranges)[1:], strict=False))
    assert set(range(80)) - model == {item for first, end in ranges.holes(0, 80) for item in range(first, end)}


@given(RUNS, RUNS)
def test_every_missing_item_gets_exactly_one_reason(holes: list[tuple[int, int]], told: list[tuple[int, int]]) -> None:
    """Explained gaps cover the holes and nothing else, once."""
    missing = Ranges(holes)
    gaps = explain(missing, [Gap(first, end - first, "link") for first, end in told], "unknown")

    covered = [item for gap in gaps for item in range(gap.first, gap.end)]
    known = {item for first, end in told for item in range(first, end)}
    assert sorted(covered) == [item for first, end in missing for item in range(first, end)]
    assert all((item in known) == (gap.reason == "link") for gap in gaps for item in range(gap.first, gap.end))
    assert gaps == sorted(gaps)
    assert len(covered) == sum(gap.count for gap in join_gaps(gaps))


def test_declared_losses_stand_just_before_the_block_that_declares_them() -> None:
    """What the Pilot did not declare comes first and has the other reason."""
    account = BirthAccount(1, origin=10)
    account.store(10, 5)

    gaps = account.advance(30, lost=8, lost_reason="link", otherwise="recorder")

    assert (Gap(15, 7, "recorder"), Gap(22, 8, "link")) == gaps
    assert 30 == account.end
