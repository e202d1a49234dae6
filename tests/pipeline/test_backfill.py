"""A backfill against a simulated Terminal: every item arrives, whoever forgets what."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.spooling import BLOCK, SPEC, open_spool, spool_blocks

from pipeline.backfill import MOST_PATIENCE_S, PATIENCE_S, QUIET_S, Backfill, Refill
from pipeline.backfill_name import PILOT, RUN
from pipeline.block import BlockFlag
from pipeline.channel import Credit, Open, Opened, Refused
from pipeline.losses import DAMAGED, LIVE
from pipeline.spool_run import SpoolRun

PLENTY = 2**40
HAPPENINGS = ("spool", "up", "down", "pass", "record", "reboot", "restart", "full", "room")


class Terminal:
    """A ring in front of a recording, both of which can be lost; it takes only what follows what it has."""

    def __init__(self) -> None:
        self.next: int | None = None
        self.origin: int | None = None
        self.ended = False
        self.ring: list[tuple[int, int]] = []
        self.recorded: set[int] = set()
        self.reasons: list[tuple[int, int, str]] = []

    def lose_ring(self) -> None:
        """Reboot."""
        self.next, self.origin, self.ended, self.ring = None, None, False, []

    def record(self) -> None:
        """Let the recorder take what is in the ring."""
        for first, count in self.ring:
            self.recorded |= set(range(first, first + count))
        self.ring = []

    def opened(self, message: Open) -> Opened:
        """Answer as `IngestStream` does."""
        if self.next is None or self.ended:
            self.next, self.origin, self.ended = message.start, None, False
        return Opened(message.opening, message.spec.stream, self.next, self.origin, False, PLENTY)

    def take(self, refill: Refill) -> Credit:
        """Take a block."""
        assert refill.first - refill.lost == self.next
        self.origin = refill.origin
        if refill.lost:
            self.reasons.append((refill.first - refill.lost, refill.first, refill.lost_reason))
        if refill.record is not None:
            self.ring.append((refill.record.first, refill.record.items))
        self.next = refill.first if refill.record is None else refill.record.end
        self.ended = bool(refill.flags & BlockFlag.END)
        return Credit(1, "", self.next, self.ended, PLENTY)

    def ranges(self) -> list[tuple[int, int]]:
        """Return what is durable."""
        return [(item, item + 1) for item in sorted(self.recorded)]


def begun_pass(run: SpoolRun) -> tuple[Backfill, Terminal, Refill]:
    """Return a pass whose first block is on the wire, its Terminal, and the block."""
    machine, terminal = Backfill(run), Terminal()
    machine.link(True)
    opening = machine.step(0.0)
    assert isinstance(opening, Open)
    machine.opened(terminal.opened(opening))
    first = machine.step(0.0)
    assert isinstance(first, Refill)
    machine.done(first)
    return machine, terminal, first


def run_pass(machine: Backfill, terminal: Terminal, now: float) -> float:
    """Run until nothing more is to be done at this time, QUIET_S later included; return the time then."""
    for time in (now, now + QUIET_S):
        while (effect := machine.step(time)) is not None:
            if isinstance(effect, Open):
                machine.opened(terminal.opened(effect))
            else:
                credit = terminal.take(effect)
                machine.done(effect)
                machine.credited(msgspec.structs.replace(credit, opening=machine._opening), time)
    return now + QUIET_S


def forget(run: SpoolRun, terminal: Terminal) -> None:
    """Tell a run what is durable; records are whole blocks."""
    run.forget([(first, first + BLOCK) for first in range(0, 400, BLOCK) if first in terminal.recorded])


def test_holes_between_records_went_by_the_live_stream(tmp_path: Path) -> None:
    """And a damaged record is told as lost, apart from them."""
    with closing(open_spool(tmp_path)) as spool:
        run = spool_blocks(spool, [8, 12, 40, 60])
        record = run.at(40)
        assert record is not None
        spool.spoil(run, record)
        machine, terminal = Backfill(run), Terminal()
        machine.link(True)
        run_pass(machine, terminal, 0.0)
        assert [(8, 4), (12, 4), (60, 4)] == terminal.ring
        assert [(16, 40, LIVE), (40, 44, DAMAGED), (44, 60, LIVE)] == terminal.reasons
        assert terminal.ended


def test_a_pass_ends_only_when_nothing_more_is_spooled(tmp_path: Path) -> None:
    """What is spooled while a pass runs goes with it."""
    with closing(open_spool(tmp_path)) as spool:
        machine, *_ = begun_pass(spool_blocks(spool, [0]))
        assert machine.step(0.0) is None
        spool_blocks(spool, [4])
        second = machine.step(QUIET_S)
        assert isinstance(second, Refill)
        assert second.record is not None
        machine.done(second)
        assert machine.step(QUIET_S) is None
        end = machine.step(3 * QUIET_S)
        assert isinstance(end, Refill)
        assert end.flags & BlockFlag.END


def test_what_did_not_become_durable_is_sent_again_ever_more_patiently(tmp_path: Path) -> None:
    """A recorder that is away for long is not flooded."""
    with closing(open_spool(tmp_path)) as spool:
        machine, terminal = Backfill(spool_blocks(spool, [0])), Terminal()
        machine.link(True)
        now, patience, waits = run_pass(machine, terminal, 0.0), PATIENCE_S, []
        for _ in range(6):
            assert machine.step(now + patience - 0.1) is None
            terminal.lose_ring()
            now = run_pass(machine, terminal, now + patience)
            assert [(0, 4)] == terminal.ring
            waits.append(patience)
            patience = min(2 * patience, MOST_PATIENCE_S)
        assert [5, 10, 20, 40, 60, 60] == waits


def test_it_is_over_when_all_is_durable_and_the_end_was_told(tmp_path: Path) -> None:
    """Not before."""
    with closing(open_spool(tmp_path)) as spool:
        run = spool_blocks(spool, [0, 4])
        machine, terminal = Backfill(run), Terminal()
        machine.link(True)
        run_pass(machine, terminal, 0.0)
        assert not machine.is_over
        run.forget([(0, 8)])
        assert machine.is_over


def test_a_refused_backfill_asks_again_a_second_later(tmp_path: Path) -> None:
    """With the reason kept for people."""
    with closing(open_spool(tmp_path)) as spool:
        machine = Backfill(spool_blocks(spool, [0]))
        machine.link(True)
        opening = machine.step(0.0)
        assert isinstance(opening, Open)
        machine.refused(Refused(opening.opening, "", "no such recording"), 0.0)
        assert machine.refusal == "no such recording"
        assert machine.step(0.9) is None
        assert isinstance(machine.step(1.0), Open)


def test_its_spec_fits_the_meta_of_a_ring(tmp_path: Path) -> None:
    """Whose it is goes along even when the live stream's words are too many."""
    wordy = msgspec.structs.replace(SPEC, meta={"words": "w" * 5000}, labels=tuple(f"l{n}" for n in range(900)))
    with closing(open_spool(tmp_path)) as spool:
        spec = Backfill(spool.run("/rec/1", wordy)).spec
    assert {RUN: "/rec/1", PILOT: "pilot1"} == spec.to_meta()["meta"]


@settings(max_examples=200)
@given(st.data())
def test_every_item_is_recorded_whatever_dies(data: st.DataObject) -> None:
    """Links break, rings are lost, recorders take their time, the Pilot restarts: at the end all is durable."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        terminal, now = Terminal(), 0.0
        spool = open_spool(folder)
        try:
            run = spool_blocks(spool, [])
            machine = Backfill(run)
            wanted: set[int] = set()
            for _ in range(data.draw(st.integers(1, 12))):
                event = data.draw(st.sampled_from(HAPPENINGS))
                now += data.draw(st.sampled_from([0.1, 3.0, 70.0]))
                if event == "spool":
                    firsts = data.draw(st.lists(st.integers(0, 49).map(lambda n: n * BLOCK), unique=True, max_size=5))
                    new = sorted(first for first in firsts if first >= max(wanted, default=0))
                    spool_blocks(spool, new)
                    wanted |= {item for first in new for item in range(first, first + BLOCK)}
                elif event in ("up", "down"):
                    machine.link(event == "up")
                elif event == "pass":
                    now = run_pass(machine, terminal, now)
                elif event == "record":
                    terminal.record()
                    forget(run, terminal)
                elif event == "reboot":
                    machine.link(False)
                    terminal.lose_ring()
                elif event in ("full", "room"):
                    machine.hold(now, is_full=event == "full")
                else:
                    spool.close()
                    spool = open_spool(folder)
                    run = spool.run("/rec/1", SPEC)
                    machine = Backfill(run)
            machine.link(False)
            machine.link(True)
            for _ in range(3):
                now = run_pass(machine, terminal, now + 2 * MOST_PATIENCE_S)
                terminal.record()
                forget(run, terminal)
            assert wanted == terminal.recorded
            assert not run
            assert machine.is_over
        finally:
            spool.close()


def test_while_the_recording_takes_nothing_nothing_is_sent(tmp_path: Path) -> None:
    """A pass that runs is ended; as soon as the disk takes it again everything comes, from the beginning."""
    with closing(open_spool(tmp_path)) as spool:
        machine, terminal, first = begun_pass(spool_blocks(spool, [0, 4, 8]))
        terminal.take(first)
        machine.hold(0.1, is_full=True)
        end = machine.step(0.1)
        assert isinstance(end, Refill)
        assert (None, True) == (end.record, bool(end.flags & BlockFlag.END))
        machine.done(end)
        machine.credited(msgspec.structs.replace(terminal.take(end), opening=machine._opening), 0.1)
        for second in range(1, 100):  # it is told every second
            spool_blocks(spool, [8 + 4 * second])
            machine.hold(float(second), is_full=True)
            assert machine.step(float(second)) is None
        terminal.ring.clear()
        machine.hold(100.0, is_full=False)
        run_pass(machine, terminal, 100.0)
        assert [(first, 4) for first in range(0, 408, 4)] == terminal.ring


def test_a_recording_of_which_nobody_tells_is_tried_ever_more_patiently(tmp_path: Path) -> None:
    """It is over, and its disk is full: each time somebody opens it, has no room, says so, and closes it."""
    with closing(open_spool(tmp_path)) as spool:
        machine, terminal, now, waits = Backfill(spool_blocks(spool, [0])), Terminal(), 0.0, []
        machine.link(True)
        for _ in range(6):
            began = now
            while not isinstance(effect := machine.step(now), Open):
                assert effect is None
                now += 0.5
            waits.append(now - began)
            machine.hold(now, is_full=False)  # before it was tried
            machine.opened(terminal.opened(effect))
            machine.hold(now, is_full=True)
            end = machine.step(now)
            assert isinstance(end, Refill)
            machine.done(end)
            machine.credited(msgspec.structs.replace(terminal.take(end), opening=machine._opening), now)
        assert waits == sorted(waits)
        assert (0.0, PATIENCE_S, MOST_PATIENCE_S) == (waits[0], waits[1], waits[-1])
