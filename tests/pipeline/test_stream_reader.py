"""Reading a stream on the Terminal: as a ring, though it holds compressed blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.streams import STREAM, Wire, eventually, rig_name, samples, signal_ring, wire, write

from pipeline.errors import BlockError
from pipeline.stream_reader import StreamReader
from shm import BlobWriter, RingEmptyError, RingWriter


@pytest.fixture
def both() -> Iterator[Wire]:
    with wire() as both:
        both.forwarder.add(STREAM)
        yield both


def forwarded(both: Wire, ring: RingWriter, count: int) -> None:
    """Write samples and wait until their blocks are in the Terminal's ring."""
    write(ring, count)
    eventually(lambda: both.forwarder.state()[STREAM].acked == ring.published - ring.published % 64)


def test_iterates_over_a_run_like_over_a_ring(both: Wire) -> None:
    """Items with sequence and time, until END."""
    with signal_ring(both.rig, unit="mV", labels=["left", "right"]) as ring:
        both.forwarder.start(STREAM)
        forwarded(both, ring, 64)
        with StreamReader.attach(both.ring_name, policy="lossless", reader="test", start="oldest") as reader:
            write(ring, 200)
            both.forwarder.stop(STREAM)
            items = list(reader)
            assert np.array_equal(samples(0, 264), np.stack([item.data for item in items]))
            assert list(range(264)) == [item.sequence for item in items]
            assert [sequence * 1_000_000 for sequence in range(264)] == [item.time_ns for item in items]
            assert (264, 264, 0, {}) == (reader.position, reader.published, reader.lapped, reader.lost)
            assert reader.ended
            assert ((2,), np.dtype("<i4"), ring.birth) == (reader.shape, reader.dtype, reader.birth)
            assert ("mV", ("left", "right")) == (reader.spec.unit, reader.spec.labels)
            assert "seq=264 lapped=0 lost=0" in repr(reader)


def test_looks_at_the_newest_without_moving(both: Wire) -> None:
    """`latest` and `window` copy; the window reaches over blocks and END."""
    with signal_ring(both.rig) as ring:
        both.forwarder.start(STREAM)
        forwarded(both, ring, 256)
        with StreamReader.attach(both.ring_name, start="oldest") as reader:
            assert 255 == reader.latest().sequence
            out = np.zeros(2, "<i4")
            assert np.array_equal(samples(255, 1)[0], reader.latest(out).data)
            both.forwarder.stop(STREAM)
            both.eventually_finished()
            run = reader.window(100)
            assert (156, 100) == (run.first, run.count)
            assert np.array_equal(samples(156, 100), run.data)
            assert 156_000_000 == run.times[0]
            assert 256 == reader.window(10_000).count
            assert 0 == reader.taken


def test_read_into_fills_what_there_is(both: Wire) -> None:
    """Across blocks, and never waits."""
    with signal_ring(both.rig) as ring:
        both.forwarder.start(STREAM)
        forwarded(both, ring, 192)
        with StreamReader.attach(both.ring_name, policy="drop_oldest", start="oldest") as reader:
            out, times = np.zeros((100, 2), "<i4"), np.zeros(100, "<i8")
            assert [100, 92, 0] == [reader.read_into(out, times) for _ in range(3)]
            assert np.array_equal(samples(100, 92), out[:92])
            assert 191_000_000 == times[91]


def test_latest_policy_skips_and_says_how_much(both: Wire) -> None:
    """A slow viewer sees the newest block; items passed over are `skipped`, not `lapped`."""
    with signal_ring(both.rig) as ring:
        both.forwarder.start(STREAM)
        forwarded(both, ring, 64)
        with StreamReader.attach(both.ring_name, policy="latest", start="oldest") as reader:
            assert reader.read(1.0) is not None
            forwarded(both, ring, 640)
            out = np.zeros((1000, 2), "<i4")
            reader.read_into(out)
            reader.read_into(out)
            assert 704 == reader.position
            assert (576, 0) == (reader.skipped, reader.lapped)


def test_a_lapped_reader_counts_what_it_missed(both: Wire) -> None:
    """Items that the ring went round over are lost to this reader, and counted."""
    with signal_ring(both.rig, slots=65_536) as ring:
        both.forwarder.add(STREAM, slots=4)
        both.forwarder.start(STREAM)
        forwarded(both, ring, 64)
        with StreamReader.attach(both.ring_name, policy="drop_oldest", start="oldest") as reader:
            assert reader.read(1.0) is not None
            laps = (2 * reader.blocks.slots + 4) * 64
            for _ in range(0, laps, 512):
                forwarded(both, ring, 512)
            both.forwarder.stop(STREAM)
            both.eventually_finished()
            taken = sum(1 for _ in reader) + 1
            assert reader.lapped > 0
            assert ring.published == taken + reader.lapped


def test_losses_on_the_way_are_told_by_reason(both: Wire) -> None:
    """What never came is not `lapped`: the Pilot says what it dropped."""
    with signal_ring(both.rig, slots=1024) as ring:
        for _ in range(5):
            write(ring, 1000)
        both.forwarder.start(STREAM, 0)
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        with StreamReader.attach(both.ring_name, policy="drop_oldest", start="oldest") as reader:
            taken = sum(1 for _ in reader)
            assert 5000 == taken + reader.lost["lapped"]
            assert {"lapped"} == set(reader.lost)
            assert reader.lost == reader.statistics().lost


def test_an_empty_ring_says_so(both: Wire) -> None:
    """Nothing has arrived yet is not an item."""
    with signal_ring(both.rig):
        both.forwarder.start(STREAM)
        both.eventually_there()
        with StreamReader.attach(both.ring_name) as reader:
            with pytest.raises(RingEmptyError):
                reader.latest()
            assert (0, False, None) == (reader.published, reader.ended, reader.read(0.0))


def test_a_ring_of_anything_else_is_refused() -> None:
    """Its meta does not describe a stream."""
    with (
        BlobWriter.create(rig_name(), max_bytes=100, slots=4) as ring,
        pytest.raises(BlockError, match="not a ring of stream"),
    ):
        StreamReader.attach(ring.name)
