"""The ledger balances exactly when every produced item is stored, or dropped with a reason."""

from __future__ import annotations

from stations.ledger import Produced, Span, Stored, account

BIRTH = "00000000000000a1"


def test_everything_stored_balances() -> None:
    """Nothing dropped, nothing in flight."""
    row = account(Produced({BIRTH: Span(5, 105)}, published=105, counted=105), {BIRTH: Stored(5, 105, 100)})

    assert (100, 100, {}, 0, True) == (row.produced, row.stored, row.dropped, row.in_flight, row.balanced)


def test_a_gap_with_a_reason_balances() -> None:
    """What the forwarder said it dropped is accounted for under its reason."""
    gaps = [(10, 4, "link"), (20, 1, "lapped"), (30, 1, "link")]
    row = account(Produced({BIRTH: Span(0, 100)}), {BIRTH: Stored(0, 100, 94, gaps)})

    assert {"lapped": 1, "link": 5} == row.dropped
    assert row.balanced


def test_an_unexplained_gap_balances_only_beside_a_death() -> None:
    """`unknown` needs something that died."""
    produced, births = Produced({BIRTH: Span(0, 100)}), {BIRTH: Stored(0, 100, 98, [(50, 2, "unknown")])}

    assert not account(produced, births).balanced
    assert account(produced, births, deaths=["pilot1"]).balanced


def test_items_that_vanished_are_in_flight_and_unbalanced() -> None:
    """Missing at the end: no later block could say why."""
    row = account(Produced({BIRTH: Span(0, 100)}), {BIRTH: Stored(0, 90, 90)})

    assert 10 == row.in_flight
    assert "10 items are neither stored nor dropped" == row.problem


def test_the_source_s_own_count_must_agree_with_its_ring() -> None:
    """A count kept apart from the ring finds items that never got into it."""
    row = account(Produced({BIRTH: Span(0, 9)}, published=9, counted=10), {BIRTH: Stored(0, 9, 9)})

    assert not row.balanced
    assert "the source counted 10 items, its ring holds 9" == row.problem


def test_a_source_that_ended_before_its_end_is_a_problem() -> None:
    """Everything that it gave is stored, and yet something is missing."""
    row = account(Produced({BIRTH: Span(0, 9)}, 9, 9, problem="item 9 is damaged"), {BIRTH: Stored(0, 9, 9)})

    assert (False, "item 9 is damaged") == (row.balanced, row.problem)


def test_generations_of_a_ring_add_up() -> None:
    """A stream whose ring was made anew is the sum of its births, whoever remembers them."""
    other = "00000000000000b2"
    row = account(Produced({other: Span(0, 7)}), {BIRTH: Stored(0, 5, 5), other: Stored(0, 7, 7)})

    assert (12, 12, True) == (row.produced, row.stored, row.balanced)


def test_what_is_in_a_spool_is_pending_and_balances() -> None:
    """It is neither lost nor stored."""
    births = {"a": Stored(0, 100, 70, [(40, 30, "spooled")])}
    row = account(Produced({"a": Span(0, 100)}, pending=30), births)
    assert (70, {}, 30, 0, True) == (row.stored, row.dropped, row.pending, row.in_flight, row.balanced)


def test_what_the_spool_has_and_the_stream_could_not_tell_is_pending_too() -> None:
    """The link was away when the run ended, so nobody said what became of the rest; the Pilot did."""
    row = account(Produced({"a": Span(0, 100)}, pending=60), {"a": Stored(0, 40, 40)})
    assert (60, 0, True) == (row.pending, row.in_flight, row.balanced)
    short = account(Produced({"a": Span(0, 100)}, pending=50), {"a": Stored(0, 40, 40)})
    assert not short.balanced
