"""What a dead writer's ring still gives back."""

from __future__ import annotations

import numpy as np
import pytest
from support.children import writer
from support.ring_process import WORDS, expected

from shm import BlobWriter, RingObserver, RingWriter, SegmentNotFoundError, WriterAliveError, salvage


def create(name: str, **options: object) -> RingWriter:
    return RingWriter.create(name, **({"shape": (WORDS,), "dtype": "<u8", "slots": 16} | options))  # type: ignore[arg-type]


def test_a_writer_killed_while_overwriting_leaves_all_but_what_it_overwrote(ring_name: str) -> None:
    """The range that it had claimed is named, what lies outside is whole, and nothing is changed by looking."""
    with writer(ring_name, "overwrite", slots=16) as process:
        assert process.line() == {"published": 16}
        process.kill()
    found = salvage(ring_name)
    assert (found.first, len(found), found.overwritten, found.unfinished) == (4, 12, range(4), range(16, 20))
    assert [expected(n).tolist() for n in range(4, 16)] == found.items.tolist()  # type: ignore[union-attr]
    assert np.all(np.diff(found.times) >= 0)
    assert not found.ended
    assert repr(found) == f"<Salvage {ring_name} 4..16 overwritten=4 unfinished=4>"
    with create(ring_name) as successor:
        assert (successor.epoch, successor.birth, successor.published) == (found.epoch + 1, found.birth, 16)
        assert successor.readers() == []


def test_the_last_items_across_the_wrap(ring_name: str) -> None:
    """Only so many of the newest; a ring that was closed in peace says that nothing is missing."""
    with create(ring_name, slots=16, meta={"unit": "V"}) as ring:
        ring.write_block(np.stack([expected(n) for n in range(8)]))
        ring.write_block(np.stack([expected(n) for n in range(8, 21)]), time_ns=8, period_ns=2)
        ring.close(unlink=False)
    found = salvage(ring_name, last=7)
    assert (found.first, len(found), found.ended, found.meta) == (14, 7, True, {"unit": "V"})
    assert [expected(n).tolist() for n in range(14, 21)] == found.items.tolist()  # type: ignore[union-attr]
    assert found.times.tolist() == [8 + 2 * n for n in range(6, 13)]
    assert len(salvage(ring_name)) == 16
    create(ring_name, meta={"unit": "V"}).close()


def test_blobs_come_back_with_their_lengths(ring_name: str) -> None:
    """Byte strings of a dead ring, as they were written."""
    with BlobWriter.create(ring_name, max_bytes=100, slots=4) as ring:
        slots = ring.slots
        for n in range(slots + 3):
            ring.write(bytes([n % 251]) * (n % 100))
        ring.close(unlink=False)
    found = salvage(ring_name, last=5)
    assert [bytes([n % 251]) * (n % 100) for n in range(slots - 2, slots + 3)] == found.items
    BlobWriter.create(ring_name, max_bytes=100, slots=4).close()


def test_a_living_writers_ring_is_no_salvage(ring_name: str) -> None:
    """It is refused with the writer's pid; and so is what does not exist. An empty ring gives nothing."""
    with create(ring_name) as ring:
        with pytest.raises(WriterAliveError, match="attach a reader"):
            salvage(ring_name)
        ring.close(unlink=False)
        assert (len(salvage(ring_name)), salvage(ring_name).overwritten) == (0, range(0))
        with RingObserver.attach(ring_name) as look:
            assert look.readers() == []
    create(ring_name).close()
    with pytest.raises(SegmentNotFoundError):
        salvage(ring_name)
