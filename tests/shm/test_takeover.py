"""A writer dies; another comes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from support.children import reader, writer
from support.ring_process import WORDS, expected
from support.waiting import eventually

from shm import RingObserver, RingReader, RingWriter, SegmentNotFoundError, WriterAliveError, clean, list_segments


def create(name: str, **options: object) -> RingWriter:
    return RingWriter.create(name, **({"shape": (WORDS,), "dtype": "<u8", "slots": 16} | options))  # type: ignore[arg-type]


def test_a_dead_writers_ring_goes_on(ring_name: str) -> None:
    """After SIGKILL the next writer keeps birth and sequences, and its readers never notice but by `epoch`."""
    with writer(ring_name, slots=16) as first:
        told = first.line()
        with RingReader.attach(ring_name, policy="drop_oldest") as seen:
            first.go()
            assert seen.wait(10)
            with pytest.raises(WriterAliveError):
                create(ring_name)
            first.kill()
            assert not seen.writer_alive
            assert not seen.ended
            with create(ring_name) as second:
                assert (second.birth, second.epoch) == (told["birth"], told["epoch"] + 1)
                assert seen.writer_alive
                sequence = second.published
                second.write(expected(sequence))
                item = None
                while item is None or item.sequence < sequence:
                    item = seen.read(10)
                    assert item is not None
                    assert np.array_equal(item.data, expected(item.sequence))


def test_a_writer_killed_in_a_claim_spoils_no_item(ring_name: str) -> None:
    """`claimed` stays raised over the takeover: half-overwritten items are lost history, not returned."""
    with writer(ring_name, "overwrite", slots=16) as first:
        assert first.line() == {"published": 16}
        first.kill()
    with create(ring_name) as second, RingObserver.attach(ring_name) as look:
        assert (second.published, second.claimed, look.oldest) == (16, 20, 4)
        assert [expected(n).tolist() for n in range(4, 16)] == look.window(16).data.tolist()


def test_another_description_is_another_generation(ring_name: str) -> None:
    """Readers of the old ring are told, drain it and stop; the name leads to the new one."""
    with writer(ring_name, slots=16) as first:
        birth = first.line()["birth"]
        first.go()
        with RingReader.attach(ring_name, policy="drop_oldest", start="oldest") as old:
            assert eventually(lambda: old.published > 0)
            first.kill()
            with create(ring_name, slots=32) as second:
                assert old.is_superseded
                assert len(list(old)) == old.taken
                assert second.birth != birth
                with RingReader.attach(ring_name) as new:
                    assert (new.birth, new.slots) == (second.birth, 32)


def test_a_reader_that_waits_is_woken_by_the_end_of_its_generation(ring_name: str) -> None:
    """Iteration over a superseded ring stops; over a dead writer's ring it waits for the next writer."""
    with writer(ring_name, slots=16) as first:
        first.line()
        with RingReader.attach(ring_name, policy="drop_oldest", start="oldest") as old:
            first.kill()
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.extend(i.sequence for i in old))
            thread.start()
            assert thread.is_alive()
            with create(ring_name, dtype="<i8"):
                thread.join(10)
                assert not thread.is_alive()


def test_a_dead_reader_is_reaped_and_does_not_hold_the_writer(ring_name: str) -> None:
    """A killed lossless reader costs a waiting writer milliseconds, not its timeout."""
    with create(ring_name, can_wait=True, timeout_s=60.0) as ring:
        with reader(ring_name, policy="lossless") as dead:
            dead.line()
            dead.kill()
        for n in range(40):
            ring.write(expected(n))
        assert (ring.statistics().reaped, ring.statistics().demotions, ring.readers()) == (1, 0, [])


def test_what_the_dead_leave_is_found_and_removed(ring_name: str) -> None:
    """The registry tells the dead from the living, and clean removes only what nobody holds."""
    rig = ring_name.split("/", maxsplit=1)[0]
    with writer(ring_name, slots=16) as process, create(f"{rig}/alive") as alive:
        process.line()
        process.kill()
        infos = {info.full_name: info for info in list_segments(f"{rig}/")}
        assert {name: info.writer_alive for name, info in infos.items()} == {ring_name: False, alive.name: True}
        with RingReader.attach(ring_name):
            assert clean(rig=rig).kept == ((alive.name, "its writer lives"), (ring_name, "reader 0 lives"))
        would = clean(rig=rig, dry_run=True)
        assert would.removed == (ring_name,)
        assert clean(rig=rig).removed == (ring_name,)
        with pytest.raises(SegmentNotFoundError):
            RingReader.attach(ring_name)
        assert alive.write(expected(0)) == 0


def test_a_half_made_segment_is_replaced(ring_name: str) -> None:
    """A creator that died before its ring was ready does not block the name."""
    from shm.segment import RING, Segment, segment_name

    Segment.create(segment_name(RING, ring_name)).close()
    with create(ring_name) as ring:
        assert ring.write(expected(0)) == 0
