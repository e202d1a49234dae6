"""Sets of runs against sets of numbers, and the reasons of holes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stations.recording.continuity import BirthAccount
from stations.recording.ranges import Ranges
from stations.recording.reasons import Gap, Reasons, explain

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
    assert all((a.end, a.reason) != (b.first, b.reason) for a, b in pairwise(gaps))


@given(RUNS, RUNS)
def test_what_is_removed_is_gone_and_nothing_else(runs: list[tuple[int, int]], removed: list[tuple[int, int]]) -> None:
    """In whatever order, whether it was there or not."""
    ranges, model = Ranges(runs), {item for run in runs for item in range(*run)}
    for run in removed:
        ranges.remove(*run)
        model -= set(range(*run))

    assert model == {item for run in ranges for item in range(*run)}
    assert len(model) == len(ranges)
    assert all(ranges.around(item)[0] <= item < ranges.around(item)[1] for item in model)
    assert list(ranges)[1:3] == ranges.runs(1, 3)


GAPS = st.builds(
    lambda run, reason: Gap(run[0], run[1] - run[0], reason),
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda run: (run[0], sum(run))),
    st.sampled_from(["link", "lapped", "spooled", "disk", "recorder"]),
)


def merit(reason: str) -> int:
    """A reason that the Pilot told, before that the item may come, before what this end makes of it."""
    return ["spooled", "disk"].index(reason) + 1 if reason in ("spooled", "disk") else 3 * (reason == "recorder")


@given(st.lists(GAPS, max_size=12))
def test_every_item_keeps_the_best_reason_that_was_told_of_it(told: list[Gap]) -> None:
    """Of equally good ones the first; and runs that say the same of neighbours are one."""
    model: dict[int, str] = {}
    for gap in told:
        for item in range(gap.first, gap.end):
            if item not in model or merit(gap.reason) < merit(model[item]):
                model[item] = gap.reason
    reasons = Reasons(told)

    assert model == {item: gap.reason for gap in reasons for item in range(gap.first, gap.end)}
    assert all((a.end, a.reason) != (b.first, b.reason) and a.end <= b.first for a, b in pairwise(reasons))
    pieces = {item: gap.reason for gap in reasons.of(5, 50) for item in range(gap.first, gap.end)}
    assert {item: model.get(item, "unknown") for item in range(5, 50)} == pieces


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(0, 6), st.integers(0, 4), st.sampled_from(["link", "spooled"])),
        st.tuples(st.just("late"), st.integers(0, 60), st.integers(0, 8), st.just("")),
        st.tuples(st.just("kept"), st.integers(0, 60), st.integers(0, 8), st.just("")),
        st.tuples(st.just("taken"), st.integers(0, 60), st.integers(0, 8), st.just("")),
    ),
    max_size=20,
)


@given(ACTS)
def test_an_account_balances_whatever_comes_in_whatever_order(acts: list[tuple[str, int, int, str]]) -> None:
    """Live blocks with losses before them, late ones, what a spool holds, and what the disk took back."""
    account = BirthAccount(1, origin=0)
    for act, at, count, reason in acts:
        first = at + account.end if act == "live" else at
        if act == "live":
            account.advance(first, lost=at, lost_reason=reason)
            for low, high in account.fresh(first, first + count):
                account.store(low, high - low)
            account.advance(first + count)
        elif act == "late":
            for low, high in account.fresh(first, min(first + count, account.last)):
                account.fill(low, high - low)
        elif act == "kept":
            account.pend([(first, first + count)])
        else:
            account.take_back(first, min(first + count, account.last), "disk")

    missing = account.missing()
    assert account.last - account.origin == len(account.stored) + sum(gap.count for gap in missing)
    assert account.pending == sum(gap.count for gap in missing if gap.reason == "spooled")
    assert not any(item in account.stored for gap in missing for item in range(gap.first, gap.end))


def test_declared_losses_stand_just_before_the_block_that_declares_them() -> None:
    """What the Pilot did not declare comes first and has the other reason."""
    account = BirthAccount(1, origin=10)
    account.store(10, 5)

    gaps = account.advance(30, lost=8, lost_reason="link", otherwise="recorder")

    assert (Gap(15, 7, "recorder"), Gap(22, 8, "link")) == gaps
    assert 30 == account.end
