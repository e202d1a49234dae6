"""Rings of byte strings."""

from __future__ import annotations

import numpy as np
import pytest

from shm import BlobReader, BlobWriter, BusyError, LayoutError, OverrunError, RingObserver, RingReader, SpecError

BIG = 70_000


def test_blobs_arrive_with_their_lengths(ring_name: str) -> None:
    """Parts are joined; lengths from nothing to the maximum come back."""
    with (
        BlobWriter.create(ring_name, max_bytes=BIG, slots=4) as ring,
        BlobReader.attach(ring_name, policy="drop_oldest") as reader,
    ):
        blobs = [b"", b"abc", bytes(range(256)) * 200, bytes(BIG)]
        for blob in blobs:
            ring.write(blob[:2], memoryview(blob)[2:], time_ns=9)
        assert blobs == [b.data for b in (reader.read(0) for _ in blobs) if b]
        assert reader.latest().time_ns == 9
        with pytest.raises(ValueError, match="does not fit"):
            ring.write(bytes(BIG + 1))
        assert ring.published == len(blobs)


def test_a_blob_filled_in_place_needs_its_length(ring_name: str) -> None:
    """A claim is published with a length, or not at all."""
    with BlobWriter.create(ring_name, max_bytes=BIG, slots=4) as ring, BlobReader.attach(ring_name) as reader:
        claim = ring.claim()
        with claim as memory:
            memory[:5] = b"hello"
            claim.publish(5, time_ns=3)
        with ring.claim() as memory:
            memory[:1] = b"x"
            with pytest.raises(BusyError):
                ring.write(b"y")
        assert (ring.published, reader.read(0)) == (1, (b"hello", 0, 3))


def test_views_of_blobs_are_read_only_and_validated(ring_name: str) -> None:
    """A run of blobs is a list of memoryviews; overwritten ones are told."""
    with (
        BlobWriter.create(ring_name, max_bytes=BIG, slots=4) as ring,
        BlobReader.attach(ring_name, policy="drop_oldest") as reader,
    ):
        for n in range(3):
            ring.write(np.full(n + 1, n, "u1"))
        with reader.view() as run:
            assert [b"\x00", b"\x01\x01", b"\x02\x02\x02"] == [bytes(b) for b in run.data]
            assert (run.data[0].readonly, run.times.shape, run.count) == (True, (3,), 3)
        with reader.view(at=1) as run:
            assert bytes(run.data[0]) == b"\x01\x01"
        with pytest.raises(OverrunError), reader.view(at=0):  # noqa: PT012 - the error comes on leaving
            for _ in range(3):
                ring.write(b"z")
        assert [b"z", b"z"] == [b.data for b in reader.window(2)]


def test_blobs_and_arrays_are_not_mixed_up(ring_name: str) -> None:
    """Each kind of reader refuses the other's ring; an observer may look at both from outside."""
    with BlobWriter.create(ring_name, max_bytes=BIG, slots=4) as ring:
        with pytest.raises(LayoutError, match="BlobReader"):
            RingReader.attach(ring_name)
        with pytest.raises(SpecError):
            ring.write_block(b"a")
        ring.write(b"abc")
        with RingObserver.attach(ring_name) as look:
            assert (look.is_blob, look.published) == (True, 1)
            with pytest.raises(LayoutError, match="BlobReader"):
                look.latest()


def test_large_blobs_of_a_deep_ring_arrive_whole(ring_name: str) -> None:
    """Deeper than any cache and taken over, the ring is written by streaming stores, whatever the parts' alignment."""
    largest = 1_000_003
    BlobWriter.create(ring_name, max_bytes=largest, slots=70).close(unlink=False)
    blobs = [np.random.default_rng(n).bytes(largest - 7 * n) for n in range(8)]
    with (
        BlobWriter.create(ring_name, max_bytes=largest, slots=70) as ring,
        BlobReader.attach(ring_name, policy="drop_oldest") as reader,
    ):
        for n, blob in enumerate(blobs):
            ring.write(blob[: n + 1], memoryview(blob)[n + 1 : 600_000], memoryview(blob)[600_000:])

        assert blobs == [b.data for b in (reader.read(0) for _ in blobs) if b]
