"""Rows cut into parts and put together again, whatever they hold and wherever a writer died."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stations.rows_ring import FRONT_BYTES, Row, RowAssembler, RowCounts, RowHead, encode_counts, encode_row, parts_of

ROWS = st.tuples(
    st.text(min_size=1, max_size=12),
    st.integers(0, 2**63),
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(max_size=900), max_size=5),
)


def blobs_of(row: tuple[str, int, int, list[bytes]], number: int, part_bytes: int) -> list[bytes]:
    """Return the blobs that a row makes."""
    key, sequence, time_ns, frames = row
    head = RowHead(key, sequence, time_ns, tuple(len(frame) for frame in frames))
    blobs = encode_row(head, frames, number, part_bytes)
    assert len(blobs) <= parts_of(head, part_bytes)
    return [b"".join(blob) for blob in blobs]


@settings(max_examples=200, deadline=None)
@given(st.lists(ROWS, max_size=6), st.integers(64, 512))
def test_rows_come_back_as_they_went_in(rows: list[tuple[str, int, int, list[bytes]]], part_bytes: int) -> None:
    """Any keys, numbers, times and frames, cut into parts of any size."""
    blobs = [blob for number, row in enumerate(rows) for blob in blobs_of(row, number, part_bytes)]
    assembler = RowAssembler()

    found = list(assembler.feed_all(iter(blobs)))

    assert all(len(blob) <= part_bytes for blob in blobs)
    assert rows == [
        (row.key, row.sequence, row.time_ns, [bytes(frame) for frame in row.frames])
        for row in found
        if isinstance(row, Row)
    ]
    assert assembler.is_between
    assert not assembler.damaged


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(64, 256), st.data())
def test_a_row_whose_writer_died_is_no_row(
    row: tuple[str, int, int, list[bytes]], part_bytes: int, data: st.DataObject
) -> None:
    """Parts without their last are passed over; what the next writer appends is whole."""
    parts = blobs_of(row, 7, part_bytes)
    kept = data.draw(st.integers(0, len(parts) - 1))
    assembler = RowAssembler()

    found = list(assembler.feed_all(iter([*parts[:kept], *parts])))

    assert 1 == len(found)
    assert isinstance(found[0], Row)
    assert row[1] == found[0].sequence


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_bytes_of_others_are_counted_and_never_raise(blobs: list[bytes]) -> None:
    """Whatever is in the ring costs a count."""
    assembler = RowAssembler()
    for blob in blobs:
        assembler.feed(blob)


def test_a_head_that_lies_about_its_lengths_is_damaged() -> None:
    """Lengths that do not add up make no row."""
    blob = blobs_of(("DATA", 0, 0, [b"abc"]), 0, 200)[0]
    assembler = RowAssembler()

    assert assembler.feed(blob[:-1]) is None
    assert assembler.feed(blob[:8]) is None
    assert 2 == assembler.damaged


def test_counts_follow_rows_and_what_the_writer_tells() -> None:
    """Whoever reads from the middle knows all counts after the next COUNTS."""
    counts = RowCounts()
    told = RowAssembler().feed(b"".join(encode_counts(RowCounts({"DATA": 5, "POS": 2}, 7))))
    assert isinstance(told, RowCounts)
    counts.take(told)
    counts.take(Row("POS", 2, 0, ()))

    assert {"DATA": 5, "POS": 3} == counts.keys
    assert 8 == counts.total


@pytest.mark.parametrize("content", [b"", msgspec.msgpack.encode(["x"])])
def test_a_front_alone_is_damaged(content: bytes) -> None:
    """A blob with nothing, or with something else, behind its front."""
    blob = blobs_of(("DATA", 0, 0, []), 0, 200)[0]
    assembler = RowAssembler()

    assert assembler.feed(blob[:FRONT_BYTES] + content) is None
    assert 1 == assembler.damaged
