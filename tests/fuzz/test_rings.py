"""Segments with a damaged header, damaged words or a damaged reader table are refused or read, never believed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support.mutations import WORDS

from shm import BlobReader, BlobWriter, Counters, RingObserver, RingReader, RingWriter, ShmError, list_segments
from shm.layout import (
    COUNTERS_HEADER,
    ENTRY,
    ENTRY_BYTES,
    HEADER,
    TABLE,
    TABLE_WORDS_BYTES,
    Field,
)
from shm.layout import WORDS as WRITER_WORDS

SHM = Path("/dev/shm")  # noqa: S108 - where Linux keeps segments
NUMBERS = (0, 1, 2, 7, 4095, 4096, 4097, 2**16, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
ROUNDS = 600


class Segment:
    """A segment's file, and its bytes while it was whole."""

    def __init__(self, segment_name: str) -> None:
        self.path = SHM / segment_name.lstrip("/")
        self.whole = self.path.read_bytes()

    def write(self, data: bytes) -> None:
        """Replace the file, so that nobody's mapping of the old one shrinks."""
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(data)
        self.path.chmod(0o600)


@pytest.fixture
def ring(ring_name: str) -> Iterator[tuple[str, Segment]]:
    with RingWriter.create(ring_name, shape=(4, 3), dtype="<u2", slots=64, meta={"rate": 10}) as writer:
        writer.write_block(np.ones((9, 4, 3), "<u2"), time_ns=1, period_ns=1)
        with RingReader.attach(ring_name, policy="drop_oldest", reader="left"):
            segment = Segment(writer.segment_name)
    yield ring_name, segment
    segment.path.unlink(missing_ok=True)


@pytest.fixture
def blobs(ring_name: str) -> Iterator[tuple[str, Segment]]:
    with BlobWriter.create(ring_name, max_bytes=100, slots=64, can_wait=True) as writer:
        for size in (0, 3, 100):
            writer.write(b"x" * size, time_ns=1)
        segment = Segment(writer.segment_name)
    yield ring_name, segment
    segment.path.unlink(missing_ok=True)


def damage(whole: bytes, sections: list[tuple[int, tuple[Field, ...]]], rng: random.Random) -> bytes:
    """Change one to three fields, each in its section at an offset, or a few bytes anywhere in the first pages."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, fields = rng.choice(sections)
        field = rng.choice(fields)
        where, size = at + field.offset, np.dtype(field.format).itemsize
        kind = rng.randrange(4)
        if kind == 0 or (kind == 1 and size == 8):
            data[where : where + 8] = rng.choice(NUMBERS).to_bytes(8, "little")
        elif kind == 1:
            word = rng.choice(WORDS)[:size]
            spot = where + rng.randrange(min(size, 40))
            data[spot : spot + len(word)] = word
        elif kind == 2:
            data[where + rng.randrange(min(size, 40))] ^= 1 << rng.randrange(8)
        else:
            text = rng.choice(TEXTS)[:size]
            data[where : where + len(text)] = text
    # Shorter than a header is what nobody has finished creating: whoever attaches waits half a second for the rest.
    return bytes(
        data[: rng.choice((len(data), len(data), len(data), rng.randrange(min(8192, len(data)), len(data) + 4096)))]
    )


TEXTS = (
    *(b'"|O"\0', b'"<U0"\0', b'[["a","|O"]]\0', b'"(1000000000,)f8"\0', b'"12"\0', b'["recorder"]\0', b"[]\0"),
    *(b"[-1,-12]\0", b"[1e3]\0", b"[[4],3]\0", b"[4,3,1e400]\0", b"[18446744073709551616]\0", b"[" * 2000),
    *(b"null\0", b"{}\0", b"\xff\xfe\0"),
)  # fmt: skip


def header_sections(readers: int = 3) -> list[tuple[int, tuple[Field, ...]]]:
    words, table = 8192, 8192 + 4096
    entries = [(table + TABLE_WORDS_BYTES + index * ENTRY_BYTES, ENTRY) for index in range(readers)]
    return [(0, HEADER[1:]), (0, HEADER[1:]), (words, WRITER_WORDS), (table, TABLE), *entries]


def look(name: str, *, is_blob: bool) -> None:
    """Everything that can be looked at without writing."""
    with RingObserver.attach(name) as observer:
        shown = (observer.readers(), observer.statistics(), observer.newest_age_s, observer.clock, observer.meta)
        assert repr((*shown, observer))
        if not is_blob:
            observer.window(3)
            observer.latest()


def read(name: str, *, is_blob: bool) -> None:
    """What a reader does; it writes its own entry of the table."""
    if is_blob:
        with BlobReader.attach(name, policy="latest", reader="fuzz", start="oldest") as blobs:
            for _ in range(4):
                blobs.read(0.0)
        return
    for policy in ("latest", "drop_oldest", "lossless"):
        with RingReader.attach(name, policy=policy, reader="fuzz", start="oldest") as reader:
            for _ in range(4):
                reader.read(0.0)
            reader.latest()


@pytest.mark.parametrize("seed", range(2))
def test_damaged_rings_are_refused_or_read(ring: tuple[str, Segment], seed: int) -> None:
    """Header, writer's words, reader table; the file cut short."""
    storm(*ring, is_blob=False, seed=seed)


def test_damaged_blob_rings_are_refused_or_read(blobs: tuple[str, Segment]) -> None:
    """Lengths beyond the slot too."""
    name, segment = blobs
    storm(name, segment, is_blob=True, seed=3)
    lengths = segment.whole.find((100).to_bytes(8, "little"), 16384)
    for number in NUMBERS:
        segment.write(segment.whole[:lengths] + number.to_bytes(8, "little") + segment.whole[lengths + 8 :])
        try_all(name, is_blob=True)


def test_damaged_counters_are_refused_or_read(ring_name: str) -> None:
    """A count beyond the capacity, labels that are no text."""
    with Counters.create(ring_name, capacity=8) as page:
        page.counter("frames").add(3)
        segment = Segment(next(info.segment_name for info in list_segments(ring_name)))
    rng = random.Random(5)
    try:
        for _ in range(ROUNDS):
            segment.write(damage(segment.whole, [(0, COUNTERS_HEADER[1:])], rng))
            try:
                page = Counters.attach(ring_name)
                assert repr((page.read(), page, page.owner_pid))
                page.close()
            except ShmError:
                pass
            list_segments()
    finally:
        segment.path.unlink(missing_ok=True)


def storm(name: str, segment: Segment, *, is_blob: bool, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        segment.write(damage(segment.whole, header_sections(), rng))
        try_all(name, is_blob=is_blob)


def try_all(name: str, *, is_blob: bool) -> None:
    for use in (look, read):
        with suppress(ShmError):
            use(name, is_blob=is_blob)
    list_segments()
