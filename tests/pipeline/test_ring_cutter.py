"""Blocks cut out of a ring: which of them stay in the ring's memory until they are sent."""

from __future__ import annotations

import numpy as np
import pytest
from support.streams import STREAM, rig_name, samples, signal_ring, write

from pipeline.block import Block
from pipeline.forward_effects import Cut
from pipeline.ring_cutter import RingCutter
from shm import RingReader

SLOTS = 256
ITEMS = 64


def block_of(reader: RingReader, codec: str, first: int, count: int = ITEMS) -> Block:
    cutter = RingCutter(reader, STREAM, codec, seconds=1.0, slots=None)
    assert ITEMS == cutter.spec.block_items
    block = cutter.block(Cut(first, count, 0, 0, "", 0, 1))
    assert block is not None
    block.check(cutter.spec)
    return block


@pytest.mark.parametrize("codec", ["raw", "blosc"])
@pytest.mark.parametrize("first", [0, SLOTS - ITEMS // 2])
def test_blocks_of_a_writer_that_does_not_wait_are_memory_of_their_own(codec: str, first: int) -> None:
    """The ring goes round before they are sent, and they are what they were."""
    rig = rig_name()
    with signal_ring(rig, slots=SLOTS) as ring:
        write(ring, SLOTS + first)
        with RingReader.attach(f"{rig}/{STREAM}", policy="lossless", reader="test", start="oldest") as reader:
            block = block_of(reader, codec, first)
            write(ring, ring.slots)
        assert np.array_equal(samples(first, ITEMS), block.decode())


def test_raw_blocks_of_a_writer_that_waits_stay_in_the_ring() -> None:
    """Not copied, across the ring's end too; a short one is padded, so it is; and they outlive the reader."""
    rig = rig_name()
    with signal_ring(rig, slots=SLOTS, can_wait=True) as ring:
        first = ring.slots - ITEMS // 2
        write(ring, ring.slots)
        with RingReader.attach(f"{rig}/{STREAM}", policy="lossless", reader="test", start=first) as reader:
            write(ring, ITEMS)
            block = block_of(reader, "raw", first)
            short = block_of(reader, "raw", first, ITEMS // 2)
            with reader.view(ITEMS, at=first) as run:
                assert np.shares_memory(run.data, np.asarray(block.payload))
                assert not np.shares_memory(run.data, np.frombuffer(memoryview(short.payload), "u1"))
        assert np.array_equal(samples(first, ITEMS), block.decode())
        assert np.array_equal(samples(first, ITEMS // 2), short.decode())
