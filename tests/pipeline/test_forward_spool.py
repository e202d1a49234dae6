"""A real link with a spool behind it: what could not leave in time arrives by the backfill, and the union is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.spooling import SPEC, open_spool, spool_blocks
from support.streams import STREAM, Wire, eventually, samples, signal_ring, wire, write

from pipeline.backfill_name import PILOT, RUN, backfill_of
from pipeline.block import Block
from pipeline.forward import Forwarder
from pipeline.forward_backfill import Backfiller
from pipeline.losses import DAMAGED, LIVE, SPOOL_FULL, SPOOLED
from pipeline.spool import Spool
from shm import BlobReader, RingWriter, SegmentNotFoundError

MIB = 1024 * 1024


def with_spool(both: Wire, folder: Path, budget: int = MIB) -> Forwarder:
    """Restart the Pilot with a spool."""
    both.forwarder.close()
    spool = Spool(folder, "pilot1", budget)
    both.forwarder = Forwarder("pilot1", both.rig, both.pilot_context, both.endpoint, both.counters, spool=spool)
    both.forwarder.add(STREAM)
    return both.forwarder


@contextmanager
def spooling(tmp_path: Path, budget: int = MIB) -> Iterator[Wire]:
    """A Terminal, and a Pilot with a spool."""
    with wire() as both:
        with_spool(both, tmp_path / "spool", budget)
        yield both


def spill(both: Wire, ring: RingWriter, times: int, *, lag: int = 320) -> None:
    """Take the Terminal away, and write 64 items so often; each time the ring is left with `lag` of them at most."""
    both.stop_terminal()
    for _ in range(times):
        write(ring, 64)
        eventually(lambda: both.forwarder.state()[STREAM].lag <= lag)


def blocks_of(both: Wire, stream: str) -> list[Block]:
    """Return what the Terminal's ring of a stream retains."""
    try:
        with BlobReader.attach(f"{both.rig}/T/{stream}", policy="drop_oldest", start="oldest") as reader:
            return [Block.from_blob(bytes(blob.data)) for blob in iter(lambda: reader.read(0.0), None)]
    except SegmentNotFoundError:
        return []


class Taker:
    """Takes every block of a stream's backfill, as a recorder does, whenever it is asked whether the END came."""

    def __init__(self, both: Wire) -> None:
        self.blocks: list[Block] = []
        self._name = f"{both.rig}/T/{backfill_of(STREAM)}"
        self._reader: BlobReader | None = None

    def has_end(self) -> bool:
        """Take what is there."""
        if self._reader is None:
            try:
                self._reader = BlobReader.attach(self._name, policy="lossless", reader="taker", start="oldest")
            except SegmentNotFoundError:
                return False
        while (blob := self._reader.read(0.0)) is not None:
            self.blocks.append(Block.from_blob(bytes(blob.data)))
        return bool(self.blocks) and self.blocks[-1].header.is_end

    def to_its_end(self) -> list[Block]:
        """Wait for the END, and return everything."""
        eventually(self.has_end)
        assert self._reader is not None
        self._reader.close()
        return self.blocks


def items_of(blocks: list[Block]) -> dict[int, NDArray[np.int32]]:
    """Return items by sequence; two of one sequence are equal."""
    found: dict[int, NDArray[np.int32]] = {}
    for block in blocks:
        for sequence, item in enumerate(block.decode(), block.header.first):
            assert sequence not in found or np.array_equal(found[sequence], item)
            found[sequence] = item
    return found


def assert_whole(found: dict[int, NDArray[np.int32]], count: int) -> None:
    """All items from 0 to count, bit-equal."""
    assert set(range(count)) <= set(found)
    assert np.array_equal(np.stack([found[n] for n in range(count)]), samples(0, count))


def lost(blocks: list[Block], reason: str) -> int:
    """Return how many items blocks tell as lost for a reason."""
    return sum(block.header.lost for block in blocks if block.header.lost_reason == reason)


def test_what_the_link_could_not_carry_comes_by_the_backfill(tmp_path: Path) -> None:
    """Nothing is lost, the live stream says what is pending, and the source never waited."""
    with spooling(tmp_path) as both, signal_ring(both.rig, slots=1024) as ring:
        both.forwarder.start(STREAM, run="/rec/1")
        write(ring, 256)
        eventually(lambda: len(items_of(blocks_of(both, STREAM))) == 256)
        spill(both, ring, 40, lag=640)
        assert both.forwarder.state()[STREAM].pending >= 1024
        both.start_terminal()
        both.forwarder.stop(STREAM, ring.published)
        both.eventually_finished()
        live = blocks_of(both, STREAM)
        pending = lost(live, SPOOLED)
        assert pending >= 1024
        backfilled = Taker(both).to_its_end()
        assert_whole(items_of(live + backfilled), ring.published)
        assert {block.header.lost_reason for block in backfilled} <= {"", LIVE}
        assert both.counters.read()[f"{STREAM}.received_spooled"] == pending
        assert both.counters.read().get(f"{STREAM}.received_lost", 0) == 0


def test_the_spool_is_emptied_by_what_is_durable_and_by_nothing_else(tmp_path: Path) -> None:
    """Having arrived is not being recorded."""
    with spooling(tmp_path) as both, signal_ring(both.rig, slots=512) as ring:
        both.forwarder.start(STREAM, run="/rec/1")
        spill(both, ring, 20)
        both.start_terminal()
        Taker(both).to_its_end()
        pending = both.forwarder.state()[STREAM].pending
        assert pending >= 512
        assert list((tmp_path / "spool").glob("*.spool"))
        both.forwarder.durable("/rec/1", {STREAM: {ring.birth: [(0, ring.published)]}})
        assert both.forwarder.state()[STREAM].pending == 0
        eventually(lambda: not list((tmp_path / "spool").glob("*.spool")))


def test_a_process_that_ends_without_its_terminal_leaves_everything_in_the_spool(tmp_path: Path) -> None:
    """The next one backfills it, in a run of its own."""
    with spooling(tmp_path) as both:
        with signal_ring(both.rig, slots=1024) as ring:
            both.forwarder.start(STREAM, run="/rec/1")
            both.stop_terminal(unlink=True)
            write(ring, 500)
            both.forwarder.stop(STREAM, 500)
            both.forwarder.close()
        both.start_terminal()
        with_spool(both, tmp_path / "spool")
        backfilled = Taker(both).to_its_end()
        assert_whole(items_of(backfilled), 500)
        with BlobReader.attach(f"{both.rig}/T/{backfill_of(STREAM)}") as reader:
            assert {RUN: "/rec/1", PILOT: "pilot1"}.items() <= reader.meta["meta"].items()


def test_a_pilot_that_comes_back_knows_what_its_spool_holds(tmp_path: Path) -> None:
    """Items that the ring no longer has are pending, not lapped."""
    with spooling(tmp_path) as both, signal_ring(both.rig, slots=512) as ring:
        both.forwarder.start(STREAM, run="/rec/1")
        write(ring, 128)
        eventually(lambda: len(items_of(blocks_of(both, STREAM))) == 128)
        spill(both, ring, 30)
        with_spool(both, tmp_path / "spool").start(STREAM, "resume", run="/rec/1")
        both.start_terminal()
        both.forwarder.stop(STREAM, ring.published)
        both.eventually_finished()
        backfilled = Taker(both).to_its_end()
        live = blocks_of(both, STREAM)
        assert_whole(items_of(live + backfilled), ring.published)
        assert {block.header.lost_reason for block in live} == {"", SPOOLED}


def test_a_full_spool_loses_the_newest_and_says_so(tmp_path: Path) -> None:
    """The budget is kept; what is in the spool still comes."""
    with spooling(tmp_path, budget=20_000) as both, signal_ring(both.rig, slots=512) as ring:
        both.forwarder.start(STREAM, run="/rec/1")
        spill(both, ring, 100)
        assert both.forwarder.state()[STREAM].dropped[SPOOL_FULL] > 0
        assert both.forwarder.state()[STREAM].dropped[SPOOLED] > 0
        both.start_terminal()
        both.forwarder.stop(STREAM, ring.published)
        both.eventually_finished()
        dropped = both.forwarder.state()[STREAM].dropped  # more, if the link took its time
        backfilled = Taker(both).to_its_end()
        live = blocks_of(both, STREAM)
        found = items_of(live + backfilled)
        assert len(found) + lost(live, SPOOL_FULL) == ring.published
        assert lost(live, SPOOL_FULL) == dropped[SPOOL_FULL]


def test_a_record_that_the_disk_damaged_is_told_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Stream, item and file are named, and everything else arrives."""
    with spooling(tmp_path) as both, signal_ring(both.rig, slots=512) as ring:
        both.forwarder.start(STREAM, run="/rec/1")
        spill(both, ring, 20)
        (path,) = (tmp_path / "spool").glob("*.spool")
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"\x5a\xa5\x5a")
        both.start_terminal()
        both.forwarder.stop(STREAM, ring.published)
        both.eventually_finished()
        backfilled = Taker(both).to_its_end()
        found = items_of(blocks_of(both, STREAM) + backfilled)
        assert lost(backfilled, DAMAGED) == 64 == ring.published - len(found)
        assert f"in the spool file {path}" in caplog.text


def test_what_a_full_disk_does_not_take_is_kept_while_the_live_stream_goes_on(tmp_path: Path) -> None:
    """Nothing is backfilled until there is room; then everything that was not durable comes."""
    with spooling(tmp_path) as both, signal_ring(both.rig, slots=1024) as ring:
        both.forwarder.start(STREAM, run="/rec/1")
        write(ring, 256)
        eventually(lambda: len(items_of(blocks_of(both, STREAM))) == 256)
        both.forwarder.durable("/rec/1", {STREAM: {ring.birth: [(0, 64)]}}, full=[STREAM])
        eventually(lambda: both.forwarder.state()[STREAM].pending == 192)
        for _ in range(8):
            write(ring, 64)
            eventually(lambda: both.forwarder.state()[STREAM].acked == ring.published)
        both.forwarder.stop(STREAM, ring.published)
        both.eventually_finished()
        eventually(lambda: both.forwarder.state()[STREAM].is_settled)
        assert {STREAM: {ring.birth: [(64, ring.published)]}} == both.forwarder.kept()
        assert blocks_of(both, backfill_of(STREAM)) == []
        assert lost(blocks_of(both, STREAM), SPOOLED) == 0
        both.forwarder.durable("/rec/1", {STREAM: {ring.birth: [(0, 64)]}})
        backfilled = items_of(Taker(both).to_its_end())
        assert set(backfilled) == set(range(64, ring.published))


def test_a_ring_that_is_new_while_the_disk_is_full_is_kept_from_its_first_item(tmp_path: Path) -> None:
    """Its birth is none that anybody told of."""
    with spooling(tmp_path) as both:
        both.forwarder.start(STREAM, run="/rec/1")
        both.forwarder.durable("/rec/1", {STREAM: {}}, full=[STREAM])
        with signal_ring(both.rig, slots=1024) as ring:
            write(ring, 256)
            eventually(lambda: both.forwarder.kept() == {STREAM: {ring.birth: [(0, 256)]}})


def test_only_the_backfill_whose_recording_has_no_room_is_held(tmp_path: Path) -> None:
    """Another run's goes on, and so does this one when there is room."""
    with wire() as both, closing(both.pilot_context.dealer(both.endpoint, b"alone")) as socket:
        spool = open_spool(tmp_path / "other")
        spool_blocks(spool, [0, 4], run="/rec/1")
        backfiller, now = Backfiller(spool), 0.0
        sent = []
        for run, is_full in (("/rec/1", False), ("/rec/2", True), ("/rec/1", True), ("/rec/1", False)):
            backfiller.hold(run, SPEC.stream, now, is_full=is_full)
            backfiller.link(False)
            backfiller.link(True)
            sent.append(backfiller.step(socket, now + 1.0, may_send=True))
            now += 2.0
        backfiller.close()
    assert [1, 1, 0, 1] == sent
