"""A run that begins with what the ring retains: from which item on, and across a writer that died."""

from __future__ import annotations

import numpy as np
import pytest
from support.stream_ends import End
from support.streams import STREAM, Wire, eventually, rig_name, samples, signal_ring, stored_items, wire, write

from pipeline.beginning import Beginning, Since, beginning_in
from pipeline.ring_watch import RingWatch
from shm import RingObserver, RingWriter

MS = 1_000_000


def begun(ring: RingWriter, since_ms: int) -> Beginning:
    with RingObserver.attach(ring.name) as look:
        return beginning_in(look, since_ms * MS)


@pytest.mark.parametrize(("since_ms", "first"), [(-5, 0), (0, 0), (120, 120), (499, 499)])
def test_a_run_begins_with_the_first_item_that_is_not_older(since_ms: int, first: int) -> None:
    """Items are 1 ms apart, item 0 is of time 0."""
    with signal_ring(rig_name()) as ring:
        write(ring, 500)
        assert Beginning(first, first * MS, 499 * MS, "held" if first else "none") == begun(ring, since_ms)


def test_what_has_yet_to_come_has_no_time() -> None:
    """Also of a ring in which nothing is."""
    with signal_ring(rig_name()) as ring:
        assert Beginning(0, None) == begun(ring, 0)
        write(ring, 10)
        assert Beginning(10, None) == begun(ring, 10)


def test_a_ring_that_holds_less_says_so_and_leaves_its_writer_an_eighth() -> None:
    """What is overwritten next is not begun with."""
    with signal_ring(rig_name(), slots=4096) as ring:
        for _ in range(10):
            write(ring, 1000)
        first = 10_000 - ring.slots * 7 // 8
        assert Beginning(first, first * MS, (9999 - first) * MS, "overwritten") == begun(ring, 0)
        assert Beginning(9000, 9000 * MS, (9999 - first) * MS) == begun(ring, 9000)


def arrived(both: Wire) -> list[tuple[int, int, int]]:
    """Epoch, first and count of every block of a stream that was stopped."""
    both.forwarder.stop(STREAM)
    both.eventually_finished()
    blocks = both.blocks()
    first = blocks[0].header.first
    assert np.array_equal(samples(first, blocks[-1].header.first - first), stored_items(blocks))
    return [(block.header.epoch, block.header.first, block.header.count) for block in blocks]


def test_a_watched_stream_begins_with_what_its_ring_retains() -> None:
    """Nothing goes before; where it began is told."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.watch(STREAM)
        write(ring, 200)
        assert 100 == both.forwarder.start(STREAM, Since(100 * MS))
        assert Beginning(100, 100 * MS, 199 * MS) == both.forwarder.state()[STREAM].beginning
        assert [(1, 100, 64), (1, 164, 36), (1, 200, 0)] == arrived(both)


def test_a_writer_that_took_over_while_nothing_was_forwarded_closes_the_block() -> None:
    """Items of the dead one keep its epoch, and no block spans the time between."""
    with wire() as both:
        both.forwarder.add(STREAM)
        dead = End("writer", both.rig)
        both.forwarder.watch(STREAM)
        with RingObserver.attach(f"{both.rig}/{STREAM}") as look:
            watched = RingWatch(look.name)
            watched.look(0.0)
            dead.tell("100")
            eventually(lambda: look.published == 100)
            for _ in range(2):
                both.forwarder.state()  # between two answers its thread has looked at every ring
            watched.look(0.1)
            dead.kill()
            with signal_ring(both.rig) as heir:
                watched.look(0.2)
                assert (1, ((100, 2),)) == watched.seams(look.birth, 30)
                assert (2, ()) == watched.seams(look.birth, 100)
                assert watched.seams(look.birth + 1, 0) is None
                watched.close()
                write(heir, 100)
                assert 30 == both.forwarder.start(STREAM, Since(30 * MS))
                assert [(1, 30, 64), (1, 94, 6), (2, 100, 64), (2, 164, 36), (2, 200, 0)] == arrived(both)


def test_a_block_is_closed_where_watching_began() -> None:
    """Whoever watches knows nothing of what was before: a run may have ended, hours ago."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.start(STREAM)
        write(ring, 70)
        eventually(lambda: both.forwarder.state()[STREAM].acked == 64)
        both.forwarder.watch(STREAM)
        eventually(lambda: both.forwarder.state()[STREAM].state == "stopped")
        write(ring, 70)
        both.forwarder.start(STREAM, Since(0))
        spans = arrived(both)
        assert [(1, 0, 64), (1, 64, 6), (1, 70, 64), (1, 134, 6), (1, 140, 0)] == spans[-5:]


def test_whoever_comes_to_watch_sees_by_the_times_where_some_are_missing() -> None:
    """A sensor died and was replaced, and then the Pilot that had seen it."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        write(ring, 70)
        ring.write_block(samples(70, 70), time_ns=1000 * MS, period_ns=MS)
        both.forwarder.watch(STREAM)
        eventually(lambda: both.forwarder.state()[STREAM].state == "stopped")
        both.forwarder.start(STREAM, Since(0))
        spans = arrived(both)
        assert [(1, 0, 64), (1, 64, 6), (1, 70, 64), (1, 134, 6), (1, 140, 0)] == spans


def test_a_ring_that_comes_after_the_order_begins_at_its_first_item() -> None:
    """Whatever its items' times are."""
    with wire() as both:
        both.forwarder.add(STREAM)
        both.forwarder.watch(STREAM)
        assert both.forwarder.start(STREAM, Since(50 * MS)) is None
        with signal_ring(both.rig) as ring:
            write(ring, 100)
            eventually(lambda: both.forwarder.state()[STREAM].state == "open")
            assert [(1, 0, 64), (1, 64, 36), (1, 100, 0)] == arrived(both)
