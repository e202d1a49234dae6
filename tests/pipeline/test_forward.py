"""Rings through the forwarder, TCP and the ingest: links that break, sources that come and go."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.stream_ends import End
from support.streams import STREAM, eventually, rig_name, samples, signal_ring, stored_items, wire, write

from pipeline import ingest_ring
from pipeline.block import Block, BlockFlag
from pipeline.errors import ClosedError, UnknownCodecError, UnknownStreamError
from pipeline.forward import Forwarder
from pipeline.transport import Context
from shm import BlobReader, RingWriter


def test_a_ring_arrives_bit_equal_with_begin_and_end() -> None:
    """Everything from the origin to the stop, in order, compressed or not."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        assert 0 == both.forwarder.start(STREAM)
        write(ring, 1000)
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        blocks = both.blocks()
        assert np.array_equal(samples(0, 1000), stored_items(blocks))
        assert blocks[0].header.flags & BlockFlag.BEGIN
        assert blocks[-1].header.is_end
        assert [64] * 15 + [40, 0] == [block.header.count for block in blocks]
        assert 1_000_000 == blocks[3].header.period_ns
        assert {STREAM: {}} == {name: report.dropped for name, report in both.forwarder.state().items()}


def test_nothing_is_forwarded_before_start_and_start_may_reach_back() -> None:
    """The ring retains what happened before the trigger."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        write(ring, 500)
        assert 300 == both.forwarder.start(STREAM, 300)
        both.forwarder.stop(STREAM, 450)
        both.eventually_finished()
        blocks = both.blocks()
        assert np.array_equal(samples(300, 150), stored_items(blocks))
        assert {300} == {block.header.origin for block in blocks}


def test_runs_follow_each_other_in_one_ring() -> None:
    """START after STOP begins a new run with its own origin."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        for _ in range(3):
            both.forwarder.start(STREAM)
            write(ring, 100)
            both.forwarder.stop(STREAM)
            both.eventually_finished()
        assert [0, 100, 200] == sorted({block.header.origin for block in both.blocks()})
        assert 3 == sum(block.header.is_end for block in both.blocks())


def test_a_ring_that_appears_late_begins_at_its_first_item() -> None:
    """START does not wait for a sensor that is still opening its device."""
    with wire() as both:
        both.forwarder.add(STREAM)
        assert both.forwarder.start(STREAM) is None
        with signal_ring(both.rig) as ring:
            write(ring, 200)
            eventually(lambda: both.forwarder.state()[STREAM].state == "open")
            both.forwarder.stop(STREAM, 200)
            both.eventually_finished()
        assert np.array_equal(samples(0, 200), stored_items(both.blocks()))


def test_a_finite_source_ends_its_run_by_itself() -> None:
    """The ring says that no item follows; nobody needs to stop it."""
    with wire() as both:
        both.forwarder.add(STREAM)
        with signal_ring(both.rig) as ring:
            both.forwarder.start(STREAM)
            write(ring, 100)
        both.eventually_finished()
        assert np.array_equal(samples(0, 100), stored_items(both.blocks()))


def test_a_writer_that_takes_over_closes_the_block() -> None:
    """Items of two writers are never in one block; the sequence goes on."""
    with wire() as both:
        both.forwarder.add(STREAM)
        dead = End("writer", both.rig)
        both.forwarder.start(STREAM)
        dead.tell("100")
        eventually(lambda: both.forwarder.state()[STREAM].acked == 64)
        dead.kill()
        with signal_ring(both.rig) as heir:
            write(heir, 100)
            both.forwarder.stop(STREAM)
            both.eventually_finished()
            blocks = both.blocks()
        assert [(1, 64), (1, 36), (2, 64), (2, 36), (2, 0)] == [(b.header.epoch, b.header.count) for b in blocks]
        assert np.array_equal(samples(0, 200), stored_items(blocks))


def test_a_ring_of_another_shape_goes_on_under_its_own_birth() -> None:
    """The old ring is drained without an END; the new one begins at its first item; STOP ends the new one."""
    with wire() as both:
        both.forwarder.add(STREAM)
        dead = End("writer", both.rig)
        both.forwarder.start(STREAM)
        dead.tell("100")
        eventually(lambda: both.forwarder.state()[STREAM].acked == 64)
        old = BlobReader.attach(both.ring_name, policy="drop_oldest", start="oldest")
        dead.kill()
        name = f"{both.rig}/{STREAM}"
        with RingWriter.create(name, shape=(3,), dtype="<i4", slots=4096, meta={"rate": 1000.0}) as new, old:
            new.write_block(np.arange(300, dtype="<i4").reshape(100, 3), time_ns=0, period_ns=1)
            eventually(lambda: both.forwarder.state()[STREAM].birth == new.birth)
            both.forwarder.stop(STREAM, 100)
            both.eventually_finished()
            drained = [Block.from_blob(blob.data) for blob in old]
            assert np.array_equal(samples(0, 100), stored_items(drained))
            assert not any(block.header.is_end for block in drained)
            blocks = both.blocks()
        assert {new.birth} == {block.header.birth for block in blocks}
        assert [True] == [block.header.is_end for block in blocks if block.header.count == 0]
        items = np.concatenate([block.decode() for block in blocks])
        assert np.array_equal(np.arange(300).reshape(100, 3), items)


def test_a_link_that_breaks_loses_nothing_that_the_ring_retains() -> None:
    """The Terminal goes away and comes back; the run goes on where its ring stood."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.start(STREAM)
        write(ring, 500)
        eventually(lambda: both.forwarder.state()[STREAM].acked == 448)
        both.stop_terminal()
        eventually(lambda: not both.forwarder.is_linked)
        write(ring, 1000)
        both.start_terminal()
        write(ring, 100)
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        assert np.array_equal(samples(0, 1600), stored_items(both.blocks()))
        assert {} == both.forwarder.state()[STREAM].dropped


def test_a_link_that_stays_away_costs_whole_blocks_that_are_counted() -> None:
    """The source goes on; stored plus lost is what was produced."""
    with wire() as both, signal_ring(both.rig, slots=1024) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.start(STREAM)
        write(ring, 128)
        eventually(lambda: both.forwarder.state()[STREAM].acked == 128)
        both.stop_terminal()
        eventually(lambda: not both.forwarder.is_linked)
        for _ in range(20):
            write(ring, 100)
            eventually(lambda: ring.published - both.forwarder.state()[STREAM].sent <= 512)
        both.start_terminal()
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        blocks = both.blocks()
        lost = {block.header.lost_reason: block.header.lost for block in blocks if block.header.lost}
        assert both.forwarder.state()[STREAM].dropped == lost
        assert {"link"} == set(lost)
        assert 0 == lost["link"] % 64
        assert 2128 == len(stored_items(blocks)) + sum(lost.values())
        eventually(lambda: both.counters.read()[f"{STREAM}.dropped.link"] == lost["link"])


def test_a_lapped_forwarder_tells_what_it_lost() -> None:
    """A source that overruns its ring before it is read costs whole blocks, reason `lapped`."""
    with wire() as both, signal_ring(both.rig, slots=1024) as ring:
        both.forwarder.add(STREAM)
        for _ in range(5):
            write(ring, 1000)
        both.forwarder.start(STREAM, 0)
        both.forwarder.stop(STREAM, 5000)
        both.eventually_finished()
        blocks = both.blocks()
        assert {"lapped"} == {block.header.lost_reason for block in blocks if block.header.lost}
        assert 5000 == len(stored_items(blocks)) + sum(block.header.lost for block in blocks)
        newest = blocks[-2].header
        assert np.array_equal(samples(newest.first, newest.count), blocks[-2].decode())


def test_a_source_that_can_wait_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file read at any speed arrives whole through a ring much smaller than it."""
    monkeypatch.setattr(ingest_ring, "PATIENCE_S", 0.0)  # nobody records here
    with wire() as both, signal_ring(both.rig, slots=1024, can_wait=True) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.start(STREAM, 0)
        eventually(lambda: both.forwarder.state()[STREAM].state == "open")
        for _ in range(40):
            write(ring, 500)
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        assert {} == both.forwarder.state()[STREAM].dropped
        assert 20_000 == both.counters.read()[f"{STREAM}.received_items"]


def test_a_recorder_that_comes_late_or_comes_back_finds_everything() -> None:
    """What it has not taken is not overwritten while it is away: the rest stays in the Pilot's ring."""
    with wire() as both, signal_ring(both.rig, slots=8192) as ring:
        both.forwarder.add(STREAM, slots=4)
        both.forwarder.start(STREAM, 0)
        write(ring, 640)
        both.eventually_there()
        both.forwarder.stop(STREAM, 640)
        blocks: list[Block] = []
        while not (blocks and blocks[-1].header.is_end):
            start = "oldest" if not blocks else len(blocks)
            with BlobReader.attach(both.ring_name, policy="lossless", reader="recorder", start=start) as reader:
                blob = reader.read(10)  # one block in each life
                assert blob is not None
                blocks.append(Block.from_blob(blob.data))
        both.eventually_finished()

        assert np.array_equal(samples(0, 640), stored_items(blocks))


def test_streams_share_the_link() -> None:
    """A stream with a large backlog does not keep another one waiting."""
    with wire() as both, signal_ring(both.rig, slots=65_536) as big:
        other = "pilot1.sig"
        with RingWriter.create(
            f"{both.rig}/{other}", shape=(), dtype="<u4", slots=4096, meta={"regular": False}
        ) as small:
            both.forwarder.add(STREAM, codec="raw")
            both.forwarder.add(other)
            for _ in range(5):
                write(big, 10_000)
            small.write_block(np.arange(100, dtype="<u4"), time_ns=0, period_ns=3)
            both.forwarder.start(STREAM, 0)
            both.forwarder.start(other, 0)
            eventually(lambda: both.forwarder.state()[other].acked == 100)
            both.forwarder.stop(other)
            eventually(lambda: both.forwarder.finished(other))
            both.forwarder.stop(STREAM)
            both.eventually_finished()
            assert 50_000 == both.counters.read()[f"{STREAM}.received_items"]


def test_a_stream_keeps_to_its_budget_and_loses_nothing() -> None:
    """400 kB at 800 kB a second, over a link that would carry them at once, while its ring retains them."""
    with wire() as both, signal_ring(both.rig, slots=65_536) as ring:
        both.forwarder.add(STREAM, codec="raw", max_bytes_s=800_000.0)
        both.forwarder.start(STREAM)
        begin = time.monotonic()
        write(ring, 50_000)
        eventually(lambda: both.forwarder.state()[STREAM].sent >= 49_984)
        assert time.monotonic() - begin > 0.35
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        assert 50_000 == both.counters.read()[f"{STREAM}.received_items"]


def test_what_cannot_be_is_said_where_it_is_asked() -> None:
    """Unknown streams and codecs, and a forwarder that is closed."""
    with Context() as context:
        forwarder = Forwarder("pilot1", rig_name(), context, "tcp://127.0.0.1:9")
        with pytest.raises(UnknownStreamError, match=r"'pilot1\.x' was never added"):
            forwarder.start("pilot1.x")
        with pytest.raises(UnknownCodecError):
            forwarder.add(STREAM, codec="gzip")
        assert "down" in repr(forwarder)
        forwarder.close()
        with pytest.raises(ClosedError):
            forwarder.state()


def test_a_stream_that_cannot_be_counted_still_flows() -> None:
    """Its name is too long for a counter's label; that is said in the log, and nothing else changes."""
    name = "pilot1." + "x" * 80
    with wire() as both, RingWriter.create(f"{both.rig}/{name}", shape=(), dtype="u1", slots=4096) as ring:
        both.forwarder.add(name)
        both.forwarder.start(name, 0)
        ring.write_block(np.arange(100, dtype="u1"))
        both.forwarder.stop(name)
        eventually(lambda: both.forwarder.finished(name))
        assert 100 == both.forwarder.state()[name].acked


def test_a_stream_that_need_not_be_whole_stays_young() -> None:
    """Not lossless, it gives up what is older than a fifth of a second as soon as the link is slow."""
    with wire() as both, signal_ring(both.rig, slots=65_536) as ring:
        both.forwarder.add(STREAM, lossless=False, slots=8)
        write(ring, 20_000)
        both.forwarder.start(STREAM, 0)
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        lost = both.forwarder.state()[STREAM].dropped["link"]
        assert 20_000 == lost + both.counters.read()[f"{STREAM}.received_items"]
