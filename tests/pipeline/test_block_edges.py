"""Where blocks are closed before they are full: the end of the run, the end of the ring, another writer."""

from __future__ import annotations

from pipeline.block_edges import BlockEdges
from pipeline.forward_effects import RingState


def test_without_an_edge_only_what_is_published_limits_a_block() -> None:
    """And the block may still grow."""
    assert (9, False) == BlockEdges(0).top(RingState(9, 0), 4)


def test_a_block_is_closed_at_the_nearest_edge_ahead() -> None:
    """A seam at 6, the end at 8: the block from 4 ends at 6, the one from 6 at 8."""
    edges = BlockEdges(0, [(6, 1)])
    edges.stop_at = 8
    ring = RingState(20, 0, epoch=1)
    assert (6, True) == edges.top(ring, 4)
    assert (8, True) == edges.top(ring, 6)


def test_an_edge_that_is_not_published_yet_closes_nothing() -> None:
    """The items up to it are still to come."""
    edges = BlockEdges(0)
    edges.stop_at = 8
    assert (7, False) == edges.top(RingState(7, 0), 4)
    assert (8, True) == edges.top(RingState(8, 0), 4)


def test_a_ring_that_is_final_ends_where_it_is_even_if_the_run_was_to_go_on() -> None:
    """Its writer is gone, and no other follows."""
    edges = BlockEdges(0)
    edges.stop_at = 8
    assert 5 == edges.end(RingState(5, 0, is_final=True), 4)


def test_a_takeover_is_an_edge_and_begins_an_epoch() -> None:
    """Where it happened if that is known, else behind all that is published."""
    edges = BlockEdges(3)
    edges.note(RingState(10, 0, epoch=4, takeover=6), 0)
    edges.note(RingState(15, 0, epoch=5), 0)
    assert [3, 3, 4, 4, 5] == [edges.epoch(at) for at in (0, 5, 6, 14, 15)]


def test_an_edge_that_was_passed_stays_until_it_is_settled() -> None:
    """Who must go back finds it again."""
    edges = BlockEdges(0)
    edges.note(RingState(10, 0, epoch=1, takeover=6), 0)
    edges.settle(5)
    assert (6, True) == edges.top(RingState(20, 0, epoch=1), 4)
    edges.settle(6)
    assert (20, False) == edges.top(RingState(20, 0, epoch=1), 4)
    assert 1 == edges.epoch(6)
