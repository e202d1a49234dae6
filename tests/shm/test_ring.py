"""What a writer and a reader of one ring promise each other."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from shm import (
    BusyError,
    ClosedError,
    LayoutError,
    OverrunError,
    RingEmptyError,
    RingExhaustedError,
    RingObserver,
    RingReader,
    RingWriter,
    SegmentNotFoundError,
    SpaceError,
    SpecError,
    SpecMismatchError,
    TableFullError,
    WriterAliveError,
    shm_space,
)

PAGE = 4096
ITEM = (512,)  # int64: one page, so that rings have exactly the slots that are asked for


def ring(name: str, slots: int = 4, **options: object) -> RingWriter:
    return RingWriter.create(name, shape=ITEM, dtype="<i8", slots=slots, **options)  # type: ignore[arg-type]


def item(value: int) -> np.ndarray:
    return np.full(ITEM, value, "<i8")


def test_items_arrive_in_order_with_their_times(ring_name: str) -> None:
    """What is written is read, bit by bit, with sequence and time."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        assert [writer.write(item(n), time_ns=10 * n) for n in range(3)] == [0, 1, 2]
        items = [reader.read(0) for _ in range(3)]
        assert [(n, 10 * n) for n in range(3)] == [(i.sequence, i.time_ns) for i in items if i]
        assert all(np.array_equal(i.data, item(i.sequence)) for i in items if i)
        assert reader.read(0) is None


def test_claim_publishes_on_leaving_and_nothing_after_an_exception(ring_name: str) -> None:
    """An item filled in place appears when its block is left; a failed block leaves no item."""
    with ring(ring_name) as writer:
        before = time.monotonic_ns()
        with writer.claim() as view:
            view[:] = 7
            assert writer.published == 0
        assert writer.published == 1
        with RingObserver.attach(ring_name) as look:
            assert before <= look.latest().time_ns <= time.monotonic_ns()
            with pytest.raises(ZeroDivisionError), writer.claim(2) as run:
                run[:] = 1 // 0
            assert (writer.published, writer.claimed) == (1, 3)
            assert look.latest().data[0] == 7


def test_a_prefix_of_a_claim_can_be_published_with_times(ring_name: str) -> None:
    """A source that delivered fewer items than claimed publishes those; times follow the period."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        claim = writer.claim(4)
        with claim as run:
            run[:] = np.arange(4)[:, None]
            claim.publish(3, time_ns=100, period_ns=5)
        with reader.view() as seen:
            assert seen.times.tolist() == [100, 105, 110]
            assert seen.data[:, 0].tolist() == [0, 1, 2]
        with pytest.raises(ClosedError):
            claim.publish(1)


def test_a_run_across_the_wrap_is_one_view(ring_name: str) -> None:
    """The data is mapped twice: three items from slot 3 on are contiguous."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        writer.write_block(np.stack([item(n) for n in range(3)]))
        reader.seek(3)
        with writer.claim(3) as run:
            run[:] = np.arange(3, 6)[:, None]
        with reader.view() as seen:
            assert (seen.first, seen.count, seen.data.flags.c_contiguous) == (3, 3, True)
            assert seen.data[:, -1].tolist() == [3, 4, 5]


def test_an_item_is_good_until_its_slot_is_claimed_again(ring_name: str) -> None:
    """Item s is readable while claimed - s <= slots, also when the ring is exactly full."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, start="oldest", policy="drop_oldest") as reader:
        writer.write_block(np.stack([item(n) for n in range(4)]))
        with reader.view(at=0) as seen:
            assert seen.data[0, 0] == 0
        with writer.claim():
            assert reader.oldest == 1
            with pytest.raises(OverrunError):
                reader.view(at=0).__enter__()
            with reader.view(at=1) as seen:
                assert seen.data[0, 0] == 1


def test_a_view_that_is_overwritten_says_so(ring_name: str) -> None:
    """Leaving validates: by policy the loss is counted as torn, an explicit view raises."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        writer.write(item(0))
        with reader.view() as seen:
            writer.write_block(np.stack([item(n) for n in range(1, 5)]))
        assert (seen.good, reader.torn, reader.position) == (False, 1, 1)
        with pytest.raises(OverrunError, match="overwritten during use"), reader.view(at=1):
            writer.write(item(5))


def test_views_are_read_only_and_one_at_a_time(ring_name: str) -> None:
    """The memory of a reader cannot be written, and only one view moves the position."""
    with ring(ring_name) as writer, RingReader.attach(ring_name) as reader:
        writer.write(item(1))
        with reader.view() as seen:
            with pytest.raises(ValueError, match="read-only"):
                seen.data[0, 0] = 2
            with pytest.raises(BusyError), reader.view():
                pass


def test_policy_latest_skips_and_counts(ring_name: str) -> None:
    """The newest is returned; what was passed over is counted as skipped, not as lost."""
    with ring(ring_name, slots=8) as writer, RingReader.attach(ring_name, policy="latest") as reader:
        writer.write_block(np.stack([item(n) for n in range(5)]))
        newest = reader.read(0)
        assert newest is not None
        assert (newest.sequence, reader.skipped, reader.lapped) == (4, 4, 0)


def test_a_lapped_reader_counts_what_it_lost(ring_name: str) -> None:
    """Taken + skipped + lapped + torn is exactly how far the reader came."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        for n in range(11):
            writer.write(item(n))
        seen = []
        while (found := reader.read(0)) is not None:
            seen.append(found.sequence)
        assert seen == list(range(9, 11))
        assert (reader.taken, reader.lapped, reader.position) == (2, 9, 11)


def test_a_live_writer_demotes_a_lossless_reader_at_once(ring_name: str) -> None:
    """A source that cannot wait goes on; the reader is told, loses, and gates again when it has caught up."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="lossless") as reader:
        for n in range(6):
            writer.write(item(n))
        assert reader.demoted
        assert writer.statistics().demotions == 1
        while reader.read(0) is not None:
            pass
        assert not reader.demoted
        assert reader.lapped == 4


def test_a_waiting_writer_loses_nothing(ring_name: str) -> None:
    """A source that can wait is held by a slow lossless reader, which misses no item."""
    count = 200
    with ring(ring_name, can_wait=True, timeout_s=20) as writer:  # noqa: SIM117 - the writer outlives the reader
        with RingReader.attach(ring_name, policy="lossless") as reader:
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.extend(int(i.data[0]) for i in reader))
            thread.start()
            for n in range(count):
                writer.write(item(n))
            writer.end()
            thread.join()
            assert seen == list(range(count))
            assert (reader.lapped, reader.torn) == (0, 0)


def test_a_waiting_writer_gives_up_after_its_timeout(ring_name: str) -> None:
    """One deadline for all lossless readers of a claim, then they are left behind."""
    with ring(ring_name, can_wait=True, timeout_s=0.1) as writer:  # noqa: SIM117
        with RingReader.attach(ring_name, policy="lossless") as a, RingReader.attach(ring_name, policy="lossless") as b:
            began = time.monotonic()
            for n in range(5):
                writer.write(item(n))
            assert 0.1 <= time.monotonic() - began < 1.0
            assert a.demoted
            assert b.demoted


def test_reading_waits_for_the_next_item_and_ends_with_the_ring(ring_name: str) -> None:
    """Iteration sleeps until something comes and stops when the ring has ended and is drained."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.extend(i.sequence for i in reader))
        thread.start()
        for n in range(3):
            writer.write(item(n))
        writer.end()
        thread.join(10)
        assert seen == [0, 1, 2]
        assert reader.ended
        assert reader.wait(0.0)


def test_wait_times_out_when_nothing_comes(ring_name: str) -> None:
    """A reader of a silent ring gets its time back."""
    with ring(ring_name), RingReader.attach(ring_name) as reader:
        began = time.monotonic()
        assert not reader.wait(0.05)
        assert 0.05 <= time.monotonic() - began < 1.0
        assert reader.read(timeout_s=0.01) is None


def test_read_into_drains_a_batch_with_times(ring_name: str) -> None:
    """Everything new is copied in one call, up to the room that was given."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        writer.write_block(np.stack([item(n) for n in range(3)]), time_ns=1, period_ns=2)
        out, times = np.empty((2, *ITEM), "<i8"), np.empty(2, "<i8")
        assert reader.read_into(out, times) == 2
        assert (out[:, 0].tolist(), times.tolist()) == ([0, 1], [1, 3])
        assert (reader.read_into(out), reader.read_into(out)) == (1, 0)


def test_read_into_waits_as_long_as_it_is_told(ring_name: str) -> None:
    """With a timeout it sleeps until the next item, the end of the ring, or the timeout."""
    out = np.empty((1, *ITEM), "<i8")
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        began = time.monotonic()
        assert reader.read_into(out, None, 0.05) == 0
        assert 0.05 <= time.monotonic() - began < 1.0
        later = threading.Thread(target=lambda: writer.write(item(7)))
        later.start()
        assert reader.read_into(out, None, 10) == 1
        later.join()
        assert out[0, 0] == 7
        writer.end()
        assert reader.read_into(out, None, 10) == 0


def test_an_observer_does_not_wait(ring_name: str) -> None:
    """It cannot arm the ring, so it is told to poll rather than left to sleep for ever."""
    with ring(ring_name), RingObserver.attach(ring_name) as observer, pytest.raises(PermissionError, match="polls"):
        observer.read_into(np.empty((1, *ITEM), "<i8"), None, 1.0)


def test_start_chooses_where_to_begin(ring_name: str) -> None:
    """Newest sees what comes, oldest what is retained, a number goes there."""
    with ring(ring_name) as writer:
        for n in range(6):
            writer.write(item(n))
        for start, first in (("oldest", 2), (3, 3)):
            with RingReader.attach(ring_name, policy="drop_oldest", start=start) as reader:
                found = reader.read(0)
                assert found is not None
                assert (found.sequence, reader.lapped) == (first, 0)
        with RingReader.attach(ring_name, start="newest") as reader:
            assert reader.read(0) is None


@pytest.mark.parametrize("first", [2**32 - 2, 2**53 - 2, 2**63 - 9])
def test_sequences_pass_the_borders_of_their_representations(ring_name: str, first: int) -> None:
    """Nothing happens at 2**32 or 2**53; just below 2**63 items still arrive."""
    with ring(ring_name, first=first) as writer, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        for n in range(9):
            writer.write(item(n))
            found = reader.read(0)
            assert found is not None
            assert (found.sequence, found.data[0]) == (first + n, n)


def test_a_ring_ends_at_2_to_the_63(ring_name: str) -> None:
    """The last sequence is 2**63 - 1; the next is refused."""
    with ring(ring_name, first=2**63 - 1) as writer:
        writer.write(item(0))
        with pytest.raises(RingExhaustedError):
            writer.write(item(1))


@pytest.mark.parametrize(
    ("shape", "dtype", "slots"),
    [
        ((), "<f8", 3),
        ((1,), "u1", 5),
        ((3,), "u1", 5),
        ((641, 481, 3), "u1", 5),
        ((256, 256), "u1", 1),
        ((2, 3), ">i2", 10),
        ((4,), [("t", "<i8"), ("xyz", "<f4", (3,))], 7),
        ((2,), "<M8[ns]", 9),
        ((), np.dtype([("a", "u1"), ("b", "<f8")], align=True), 3),
        ((2,), ("<f4", (3,)), 2),
    ],
)
def test_any_item_fits_and_crosses_the_wrap(ring_name: str, shape: tuple[int, ...], dtype: object, slots: int) -> None:
    """Odd sizes, scalars, other byte orders and structured dtypes come back as they went in."""
    rng = np.random.default_rng(5)
    with RingWriter.create(ring_name, shape=shape, dtype=dtype, slots=slots) as writer:  # type: ignore[arg-type]
        assert writer.slots >= slots
        with RingReader.attach(ring_name, policy="drop_oldest") as reader:
            assert (reader.shape, reader.dtype) == (writer.shape, writer.dtype)
            count = 2 * writer.slots + 1 if writer.slots < 100 else 100
            for _ in range(count):
                raw = rng.integers(0, 255, (*writer.shape, writer.dtype.itemsize), dtype="u1")
                sent = raw.view(writer.dtype).reshape(writer.shape)
                writer.write(sent)
                found = reader.read(0)
                assert found is not None
                assert found.data.shape == writer.shape
                assert found.data.tobytes() == sent.tobytes()


def test_a_one_slot_ring_is_readable_between_claims_only(ring_name: str) -> None:
    """With one slot the newest item is there until the next claim begins."""
    with ring(ring_name, slots=1) as writer, RingReader.attach(ring_name, start="oldest") as reader:
        writer.write(item(3))
        assert reader.latest().data[0] == 3
        with writer.claim(), pytest.raises(OverrunError):
            reader.latest()
        assert reader.read(0) is not None


def test_latest_of_an_empty_ring_says_so(ring_name: str) -> None:
    """Nothing published is not the same as nothing new."""
    with ring(ring_name), RingObserver.attach(ring_name) as look, pytest.raises(RingEmptyError):
        look.latest()


def test_what_does_not_fit_is_refused(ring_name: str) -> None:
    """Another dtype or shape is never cast or broadcast; lists are arrays to be."""
    with ring(ring_name) as writer:
        for wrong in (np.zeros(ITEM, "<i4"), np.zeros((2, *ITEM), "<i8"), [1, 2], np.zeros(ITEM, ">i8")):
            with pytest.raises(SpecMismatchError, match=ring_name.split("/", maxsplit=1)[0]):
                writer.write(wrong)
        with pytest.raises(SpecMismatchError):
            writer.write_block(item(1))
        assert (writer.published, writer.write(list(range(512))), writer.write(np.zeros((512, 2), "<i8")[:, 0])) == (
            0,
            0,
            1,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": object},
        {"shape": (0,)},
        {"slots": 0},
        {"slots": None},
        {"slots": 3, "seconds": 1},
        {"slots": None, "seconds": 1},
        {"meta": {"x": "y" * 3000}},
        {"meta": {"x": object()}},
        {"name": ""},
        {"name": "x" * 201},
    ],
)
def test_impossible_rings_are_refused(ring_name: str, wrong: dict[str, object]) -> None:
    """A description that cannot be is an error that names the argument, and leaves nothing behind."""
    spec = {"name": ring_name, "shape": (4,), "dtype": "u1", "slots": 4} | wrong
    with pytest.raises(SpecError):
        RingWriter.create(spec.pop("name"), **spec)  # type: ignore[arg-type]


def test_claims_are_bounded_and_single(ring_name: str) -> None:
    """More than the ring holds, or a second claim at once, is refused."""
    with ring(ring_name) as writer:
        for n in (0, 5):
            with pytest.raises(ValueError, match="expected 1"), writer.claim(n):
                pass
        with writer.claim(), pytest.raises(BusyError):
            writer.write(item(0))
        assert writer.published == 1


def test_a_full_dev_shm_is_an_error_before_anything_is_written(ring_name: str) -> None:
    """More than there is: SpaceError with what it needs and what is free, and no name left."""
    total, free = shm_space()
    with pytest.raises(SpaceError) as caught:
        RingWriter.create(ring_name, shape=(2**20,), dtype="u1", slots=total // 2**20 + 2)
    assert caught.value.needs > total
    assert caught.value.free <= max(free, total)
    with pytest.raises(SegmentNotFoundError):
        RingReader.attach(ring_name)


def test_attach_waits_for_a_ring_that_comes(ring_name: str) -> None:
    """A reader may be started before its writer."""
    made: list[RingWriter] = []
    timer = threading.Timer(0.05, lambda: made.append(ring(ring_name)))
    timer.start()
    with RingReader.attach(ring_name, wait_for_s=10):
        pass
    timer.join()
    made[0].close()


def test_a_second_writer_is_refused_while_the_first_lives(ring_name: str) -> None:
    """One ring, one writer; the error names the process."""
    with ring(ring_name), pytest.raises(WriterAliveError, match=f"pid {os.getpid()}"):
        ring(ring_name)


def test_foreign_bytes_under_our_name_are_refused(ring_name: str) -> None:
    """Wrong magic, version, boot or size are told apart."""
    with ring(ring_name) as writer:
        path = f"/dev/shm{writer.segment_name}"  # noqa: S108
        for offset, value, message in ((8, 9, "version"), (128, 0x30, "boot"), (80, 1, "sizes"), (0, 1, "not a ring")):
            fd = os.open(path, os.O_RDWR)
            kept = os.pread(fd, 1, offset)
            os.pwrite(fd, bytes([value ^ kept[0] if offset == 128 else value]), offset)
            with pytest.raises(LayoutError, match=message):
                RingReader.attach(ring_name)
            os.pwrite(fd, kept, offset)
            os.close(fd)
        RingReader.attach(ring_name).close()


def test_the_table_holds_31_readers_and_names_them_when_full(ring_name: str) -> None:
    """Entries are given back; the error tells who holds them."""
    with ring(ring_name):
        readers = [RingReader.attach(ring_name, reader=f"r{n}") for n in range(31)]
        with pytest.raises(TableFullError, match="r17"):
            RingReader.attach(ring_name)
        readers.pop(17).close()
        readers.append(RingReader.attach(ring_name))
        for reader in readers:
            reader.close()


def test_ends_tell_their_state(ring_name: str) -> None:
    """The repr is a status line; a closed end refuses with its name."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="lossless", reader="rec") as reader:
        writer.write(item(0))
        assert repr(writer) == f"<RingWriter {ring_name} seq=1 slots=4 readers=1>"
        assert repr(reader) == f"<RingReader {ring_name} lossless seq=0 behind=1 skipped=0 lapped=0 torn=0>"
        row = writer.readers()[0]
        assert (row.name, row.state, row.policy, row.is_alive, row.pid, row.lag) == (
            "rec",
            "lossless",
            "lossless",
            True,
            os.getpid(),
            1,
        )
    with pytest.raises(ClosedError):
        reader.read(0)
    with pytest.raises(ClosedError):
        writer.write(item(0))
    assert repr(writer) == f"<RingWriter {ring_name} closed>"


def test_views_outlive_their_ring(ring_name: str) -> None:
    """Closing never pulls memory from under an array."""
    with ring(ring_name) as writer, RingReader.attach(ring_name) as reader:
        writer.write(item(5))
        with reader.view() as seen:
            data = seen.data
    assert data[0, 0] == 5


def test_closing_lets_the_memory_go(ring_name: str) -> None:
    """A closed end that is still referred to maps nothing of the data."""
    with RingWriter.create(ring_name, shape=(2**20,), dtype="u1", slots=8) as writer:
        reader = RingReader.attach(ring_name)
        reader.close()
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8").count(writer.segment_name)
    kept = Path("/proc/self/maps").read_text(encoding="utf-8").count(writer.segment_name)
    assert (mapped, kept) == (6 + 2, 2 + 2)  # words and table of each, times and data twice of the open one


def test_notices_are_sent_only_to_those_who_armed(ring_name: str) -> None:
    """A notifier is called once per arming, with the sequence, and not for readers that are awake."""

    class Told(list[int]):
        def notify(self, sequence: int) -> None:
            self.append(sequence)

    told = Told()
    with ring(ring_name, notifier=told) as writer, RingReader.attach(ring_name) as reader:
        writer.write(item(0))
        assert told == []
        assert reader.arm(), "there is news already"
        reader.read(0)
        assert not reader.arm()
        writer.write(item(1))
        writer.write(item(2))
        assert told == [2]
