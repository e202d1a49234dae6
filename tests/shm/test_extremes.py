"""Sequences at the borders of their representations, large granules, large rings."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from shm import BlobReader, BlobWriter, RingReader, RingWriter, salvage, shm_space

BORDERS = [2**32 - 6, 2**53 - 6, 2**63 - 40]
GIB = 2**30


def item(value: int) -> np.ndarray:
    return np.full(512, value, "<u8")


def create(name: str, first: int) -> RingWriter:
    return RingWriter.create(name, shape=(512,), dtype="<u8", slots=5, first=first, can_wait=True, timeout_s=0.01)


@pytest.mark.parametrize("first", BORDERS)
def test_the_gate_holds_at_the_border(ring_name: str, first: int) -> None:
    """A lossless reader is waited for, left behind, and promoted, one slot at a time across the border."""
    with create(ring_name, first) as writer, RingReader.attach(ring_name, policy="lossless") as reader:
        for n in range(first, first + 5):
            writer.write(item(n))
        assert not reader.demoted
        for n in range(first + 5, first + 9):
            with reader.view(1) as run:
                assert (run.first, run.data[0, 0]) == (n - 5, n - 5)
            writer.write(item(n))
        assert (reader.demoted, reader.lag, reader.taken) == (False, 5, 4)
        writer.write(item(first + 9))
        assert (reader.demoted, writer.statistics().demotions) == (True, 1)
        while reader.read(0) is not None:
            pass
        assert (reader.demoted, reader.position, reader.taken + reader.lapped) == (False, first + 10, 10)
        reader.seek(first + 7)
        assert [first + n for n in (7, 8, 9)] == [int(found.data[0]) for _ in range(3) if (found := reader.read(0))]


@pytest.mark.parametrize("first", BORDERS)
def test_takeover_and_salvage_at_the_border(ring_name: str, first: int) -> None:
    """What a dead writer left is found, and its successor goes on with the next number."""
    with create(ring_name, first) as writer:
        for n in range(first, first + 7):
            writer.write(item(n))
        with pytest.raises(ZeroDivisionError), writer.claim(2):
            raise ZeroDivisionError
        writer.close(unlink=False)
    found = salvage(ring_name)
    assert (found.first, found.overwritten, found.unfinished) == (
        first + 4,
        range(first + 2, first + 4),
        range(first + 7, first + 9),
    )
    assert [first + 4, first + 5, first + 6] == found.items[:, 0].tolist()  # type: ignore[call-overload]
    with create(ring_name, first) as successor:
        assert successor.write(item(0)) == first + 7


@pytest.mark.parametrize("first", BORDERS)
def test_blobs_at_the_border(ring_name: str, first: int) -> None:
    """Their lengths have a modulus of their own."""
    with (
        BlobWriter.create(ring_name, max_bytes=4096, slots=3, first=first) as writer,
        BlobReader.attach(ring_name, policy="drop_oldest") as reader,
    ):
        for n in range(12):
            writer.write(bytes([n]) * n)
            blob = reader.read(0)
            assert blob is not None
            assert (blob.sequence, blob.data) == (first + n, bytes([n]) * n)


@pytest.mark.parametrize("granule", [16384, 65536])
@pytest.mark.parametrize("shape", [(3,), (1000,), (641, 481, 3)])
def test_rings_of_larger_pages_work_here_too(
    ring_name: str, monkeypatch: pytest.MonkeyPatch, granule: int, shape: tuple[int, ...]
) -> None:
    """As an ARM kernel would lay them out: written, wrapped and read on pages that divide theirs."""
    monkeypatch.setattr("shm.writer.page_bytes", lambda: granule)
    with (
        RingWriter.create(ring_name, shape=shape, dtype="u1", slots=5) as writer,
        RingReader.attach(ring_name, policy="drop_oldest") as reader,
    ):
        geometry = reader._ring.spec.geometry
        assert (geometry.granule, geometry.data_bytes % granule, geometry.times_offset % granule) == (granule, 0, 0)
        half = writer.slots // 2 + 1
        for n in range(4):
            with writer.claim(half) as run:
                run[:] = n
            with reader.view() as seen:
                assert (seen.count, seen.data.min(), seen.data.max()) == (half, n, n)


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_a_ring_of_8_gib(ring_name: str) -> None:
    """Offsets beyond 32 bits: first and last byte of every slot, across the wrap."""
    free = min(shm_space()[1], psutil.virtual_memory().available)
    if free < 10 * GIB:
        pytest.skip(f"{free / GIB:.1f} GiB of shared memory are free, 10 are needed")
    slots = 256
    with RingWriter.create(ring_name, shape=(8 * GIB // slots,), dtype="u1", slots=slots) as writer:
        for n in range(slots + 3):
            with writer.claim() as image:
                image[0] = image[-1] = n % 251
        with RingReader.attach(ring_name, policy="drop_oldest", start="oldest") as reader:
            with reader.view(slots) as run:
                assert (run.first, run.count, run.data.nbytes) == (3, slots, 8 * GIB)
                assert np.array_equal(run.data[:, 0], run.data[:, -1])
                assert run.data[:, 0].tolist() == [n % 251 for n in range(3, slots + 3)]
            assert reader.latest().data[-1] == (slots + 2) % 251
