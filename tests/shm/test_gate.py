"""The gate that lossless readers put before the writer, where claiming crosses joining, going back and promotion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shm import RingReader, RingWriter

ITEM = (512,)  # int64: one page, so that rings have exactly the slots that are asked for


class HookedWriter(RingWriter):
    """A writer that does what a test says when the gate is closed, instead of waiting."""

    hooks: list[Callable[[int], object]]

    def _make_room(self, upto: int) -> None:
        self.hooks.pop(0)(upto)


def full(name: str, *, slots: int = 4, upto: int = 4, kind: type[RingWriter] = RingWriter, **options: Any) -> Any:
    """Return a writer that has written items up to `upto`, each filled with its sequence."""
    writer = kind.create(name, shape=ITEM, dtype="<i8", slots=slots, **options)
    for n in range(upto):
        writer.write(np.full(ITEM, n, "<i8"))
    return writer


def lossless(name: str, start: Any) -> RingReader:
    return RingReader.attach(name, policy="lossless", start=start)


def value(reader: RingReader) -> int | None:
    item = reader.read(0)
    return None if item is None else int(item.data[0])


def counts(reader: RingReader) -> tuple[int, int, int]:
    return reader.taken, reader.lapped, reader.torn


def test_a_reader_that_joins_inside_a_claim_is_not_overrun_by_the_writer_that_waits_for_it(ring_name: str) -> None:
    """The writer saw it only after raising `claimed`: the bytes are untouched, and nothing is lost."""
    with full(ring_name, kind=HookedWriter) as writer, lossless(ring_name, 0) as first:
        joined: list[RingReader] = []

        def join_behind_the_scan(upto: int) -> None:
            assert value(first) == 0
            assert writer._scan(upto)
            joined.append(lossless(ring_name, "oldest"))

        def read_while_the_writer_waits(upto: int) -> None:
            (second,) = joined
            assert (writer.claimed, second.position, second.oldest) == (upto, 0, 0)
            with second.view(1, at=0) as run:
                assert run.data[0, 0] == 0
            assert value(second) == 0
            assert writer._scan(upto)

        writer.hooks = [join_behind_the_scan, read_while_the_writer_waits]
        writer.write(np.full(ITEM, 4, "<i8"))
        with joined[0] as second:
            assert [1, 2, 3, 4, None] == [value(second) for _ in range(5)]
            assert counts(second) == (5, 0, 0)


def test_a_claim_abandoned_after_it_was_raised_costs_a_gating_reader_nothing(ring_name: str) -> None:
    """An exception in the re-check leaves `claimed` up and the bytes as they were."""
    with full(ring_name) as writer, lossless(ring_name, 0) as reader:
        writer._ring.words.store(0, 6)
        with reader.view(2) as run:
            assert run.data[:, 0].tolist() == [0, 1]
        assert (run.good, reader.oldest) == (True, 2)
        assert [2, 3, None] == [value(reader) for _ in range(3)]
        assert counts(reader) == (4, 0, 0)


def test_a_reader_that_does_not_gate_believes_claimed(ring_name: str) -> None:
    """Only an entry that says LOSSLESS holds the writer off; after a demotion `claimed` counts again."""
    with full(ring_name) as writer, lossless(ring_name, 0) as reader:
        writer.write(np.full(ITEM, 4, "<i8"))
        assert reader.demoted
        with writer.claim(3):
            assert reader.oldest == 4
            assert value(reader) == 4
        assert counts(reader) == (1, 4, 0)


@pytest.mark.parametrize(
    ("start", "position", "lapped"), [("newest", 4, 0), ("oldest", 2, 0), (1, 2, 1), (3, 3, 0), (9, 9, 0)]
)
@pytest.mark.parametrize("policy", ["lossless", "drop_oldest"])
def test_joining_begins_where_no_claim_has_reached(
    ring_name: str, policy: Any, start: Any, position: int, lapped: int
) -> None:
    """max(wanted, claimed - slots), in the table too; what a number asked for in vain is counted."""
    with full(ring_name) as writer, writer.claim(2), RingReader.attach(ring_name, policy=policy, start=start) as reader:
        assert (reader.position, reader.lapped) == (position, lapped)
        assert [position] == [row.position for row in writer.readers()]


def test_the_slowest_is_a_living_lossless_reader(ring_name: str) -> None:
    """Whoever only looks, was left behind or has gone holds nothing up."""
    with full(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest", start=0):
        assert writer.slowest is None
        with lossless(ring_name, 3), lossless(ring_name, 1) as behind:
            assert 1 == writer.slowest
            behind.seek(4)
            assert 3 == writer.slowest
            behind.seek(0)
            writer.write(np.full(ITEM, 4, "<i8"))
            assert (behind.demoted, writer.slowest) == (True, 3)
        assert writer.slowest is None


def test_nothing_before_the_first_item_of_a_ring_is_read(ring_name: str) -> None:
    """Slots that were never written hold no items, whatever a reader asks for."""
    with (
        full(ring_name, upto=2, first=3) as writer,
        RingReader.attach(ring_name, policy="drop_oldest", start=0) as reader,
    ):
        assert [0, 1, None] == [value(reader) for _ in range(3)]
        assert (reader.lapped, reader.position) == (3, writer.published)
        reader.seek(1)
        assert (reader.position, reader.lapped) == (3, 5)


def test_going_back_gates_the_writer_from_there(ring_name: str) -> None:
    """The writer keeps a limit from claim to claim; a reader that goes back makes it look again."""
    with full(ring_name) as writer, lossless(ring_name, 4) as reader:
        writer.write(np.full(ITEM, 4, "<i8"))  # the limit is 8 from here
        reader.seek(1)
        assert not reader.demoted
        writer.write(np.full(ITEM, 5, "<i8"))
        assert reader.demoted
        reader.seek(0)
        assert (reader.position, reader.lapped) == (2, 2)


def test_promotion_gives_up_what_an_open_claim_may_overwrite(ring_name: str) -> None:
    """Caught up to the last item while it is being overwritten: gating again, but not for that one."""
    with full(ring_name, slots=8, upto=9) as writer, lossless(ring_name, 8) as reader:
        for n in range(9, 20):
            writer.write(np.full(ITEM, n, "<i8"))
        assert reader.demoted
        with writer.claim(8) as run:
            run[:] = -1
            reader.seek(19)
            assert not reader.demoted
            assert [20] == [row.position for row in writer.readers()]
            assert value(reader) is None
        assert (value(reader), reader.lapped, reader.torn) == (-1, 1, 0)


def test_reading_inside_a_view_is_not_undone_by_leaving_it(ring_name: str) -> None:
    """The position that another read or a seek chose stays; each item is counted once."""
    with full(ring_name) as writer, lossless(ring_name, 0) as reader:
        with reader.view(1) as run:
            assert [run.count, value(reader), value(reader)] == [1, 0, 1]
        assert (reader.position, reader.taken) == (2, 2)
        assert writer.readers()[0].position == reader.position
