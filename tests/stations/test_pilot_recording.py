"""A Pilot's own recording: items out of its rings, into files, from the run's origin to its end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.block import BlockFlag
from pipeline.errors import ExpiredError
from pipeline.forward_effects import Cut, RingState
from pipeline.notify import Notices
from pipeline.transport import Context
from shm import RingWriter
from stations.errors import StationError
from stations.own_recording import OwnRecording, closed_recording, look_at_rings

pytest.importorskip("h5py")

from stations.recording import Recording, SessionRecorder, verify
from stations.recording.item_cuts import ItemCuts
from stations.recording.item_intake import ItemIntake, ItemSource

STREAM = "p1.sig"
RATE = 1000.0


def cuts_of(cuts: ItemCuts, ring: RingState) -> list[tuple[int, int]]:
    """Do whatever can be done; return first item and count of each block."""
    found = []
    while (cut := cuts.step(ring)) is not None:
        cuts.done(cut)
        found.append((cut.first, cut.count))
    return found


def test_blocks_are_whole_but_for_the_last_before_the_end() -> None:
    """Of ten items each; a half one waits for the rest or for the end of the run; END comes once."""
    cuts = ItemCuts(10, origin=3, at=3, epoch=0)
    assert [(3, 10), (13, 10)] == cuts_of(cuts, RingState(27, 0))
    cuts.stop(29)
    assert [] == cuts_of(cuts, RingState(28, 0))
    assert [(23, 6), (29, 0)] == cuts_of(cuts, RingState(31, 0))
    assert cuts.is_over


def test_a_block_is_cut_short_where_the_writer_changed() -> None:
    """What the dead one wrote and what its successor writes are never one block."""
    cuts = ItemCuts(10, origin=0, at=0, epoch=0)
    assert [(0, 10)] == cuts_of(cuts, RingState(14, 0))
    first = cuts.step(RingState(30, 0, epoch=1, takeover=17))
    assert (10, 7, 0) == (first.first, first.count, first.epoch) if first else None
    assert first is not None
    cuts.done(first)
    second = cuts.step(RingState(30, 0, epoch=1))
    assert second is not None
    assert (17, 10, 1) == (second.first, second.count, second.epoch)


def test_a_ring_that_had_ended_goes_on_with_its_next_writer() -> None:
    """END was there; further items follow, and another END."""
    cuts = ItemCuts(10, origin=0, at=0, epoch=0)
    assert [(0, 5), (5, 0)] == cuts_of(cuts, RingState(5, 0, is_final=True))
    assert [(5, 10)] == cuts_of(cuts, RingState(17, 0, epoch=1, takeover=5))
    assert not cuts.is_over
    cuts.stop(17)
    assert [(15, 2), (17, 0)] == cuts_of(cuts, RingState(17, 0, epoch=1))


def test_what_was_overwritten_is_told_in_the_next_block() -> None:
    """As a loss of the recorder's, with some room before the writer's next turn."""
    cuts = ItemCuts(10, origin=0, at=5, epoch=0)
    cut = cuts.step(RingState(200, 100))
    assert cut == Cut(112, 10, BlockFlag.NONE, 107, "recorder", 0, 0)


def test_a_ring_that_was_complete_before_the_run_began_gives_no_end() -> None:
    """Its sensor is about to make another; one that was told to stop there gives it."""
    cuts = ItemCuts(10, origin=50, at=50, epoch=0)
    assert [] == cuts_of(cuts, RingState(50, 0, is_final=True))
    cuts.stop(50)
    assert [(50, 0)] == cuts_of(cuts, RingState(50, 0, is_final=True))


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 16), st.integers(0, 20))
def test_every_item_is_cut_once_and_in_order(steps: list[int], size: int, origin: int) -> None:
    """However the ring advances: no item twice, none left out, nothing beyond the end."""
    cuts, published, found = ItemCuts(size, origin=origin, at=origin, epoch=0), origin, []
    for step in steps:
        published += step
        found += cuts_of(cuts, RingState(published, 0))
    cuts.stop(published)
    found += cuts_of(cuts, RingState(published, 0))
    assert list(range(origin, published)) == [first + i for first, count in found for i in range(count)]
    assert [(published, 0)] == [cut for cut in found if not cut[1]]


class Bench:
    """A ring that the test fills, and the intake that records it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder / "recording"
        self.name = f"own-{uuid.uuid4().hex[:8]}"
        self.notices = Notices(stack.enter_context(Context()))
        stack.callback(self.notices.close)
        self.stack = stack
        self.published = 0
        self.intake = self.made_intake()
        self.session = self.made_session(resume=False)

    def made_intake(self) -> ItemIntake:
        intake = ItemIntake({STREAM: ItemSource(self.name)}, self.notices, "p1")
        self.stack.callback(intake.end)
        return intake

    def made_session(self, *, resume: bool) -> SessionRecorder:
        session = SessionRecorder(self.folder, "own", [STREAM], max_loss_s=0.2, resume=resume)
        self.stack.callback(session.close)
        return session

    def ring(self, **options: Any) -> RingWriter:
        """Make the stream's ring, or take it over."""
        spec: dict[str, Any] = {"shape": (2,), "dtype": "<i4", "slots": 4096, "meta": {"rate": RATE}}
        return self.stack.enter_context(RingWriter.create(self.name, **{**spec, **options}))

    def begin(self, *, resume: bool = False) -> None:
        """Record from what is published now on."""
        origins = {} if resume else look_at_rings({STREAM: self.name})
        self.intake.begin(self.session, time.monotonic(), origins)

    def until(self, condition: Callable[[], object]) -> None:
        """Record until the condition holds."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, (self.intake, self.session)
            if not self.intake.do_work(time.monotonic()):
                self.intake.wait(0.02)
            self.session.tick(time.monotonic())

    def finish(self, ends: dict[str, int]) -> dict[str, Any]:
        """Stop at these sequences by birth; return the stream's births."""
        self.intake.stop({STREAM: ends} if ends else {})
        self.until(lambda: self.intake.is_drained)
        self.intake.end()
        births: dict[str, Any] = self.session.close()[STREAM]["births"]
        return births

    def recorded(self) -> list[int]:
        """Return what the recorded items say."""
        assert verify(self.folder).ok, verify(self.folder).lines()
        with Recording(self.folder) as recording:
            return [int(item.data[1]) for item in recording[STREAM].items()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def write(ring: RingWriter, count: int) -> None:
    """Publish items that say their number."""
    first = ring.published
    items = np.repeat(np.arange(first, first + count, dtype="<i4")[:, None], 2, axis=1)
    ring.write_block(items, time_ns=1 + first * 10**6, period_ns=10**6)


def name_of(ring: RingWriter) -> str:
    return f"{ring.birth:016x}"


def test_a_recording_has_every_item_from_the_origin_to_the_end(bench: Bench) -> None:
    """Not what was published before START, nor after STOP; what fills no block is there, too."""
    ring = bench.ring()
    write(ring, 77)
    bench.begin()
    write(ring, 1234)
    bench.until(lambda: bench.session.streams[STREAM].stored >= 1200)
    end = ring.published
    write(ring, 50)
    assert {name_of(ring): {"origin": 77, "end": end, "stored": 1234, "gaps": []}} == bench.finish({name_of(ring): end})
    assert list(range(77, end)) == bench.recorded()


def test_a_ring_that_comes_late_is_recorded_from_its_first_item(bench: Bench) -> None:
    """Wherever its writer begins to count."""
    bench.begin()
    bench.until(lambda: True)
    ring = bench.ring(first=1000)
    write(ring, 300)
    births = bench.finish({name_of(ring): 1300})
    assert (1000, 1300, 300) == tuple(births[name_of(ring)][key] for key in ("origin", "end", "stored"))


def test_a_ring_that_takes_another_s_place_is_followed(bench: Bench) -> None:
    """The old one to its last item, the new one, of another shape, from its first."""
    old = bench.ring()
    bench.begin()
    write(old, 333)
    old.close()
    new = bench.ring(slots=2048)
    write(new, 444)
    births = bench.finish({name_of(new): 444})
    assert {name_of(old): 333, name_of(new): 444} == {birth: row["stored"] for birth, row in births.items()}
    assert [*range(333), *range(444)] == bench.recorded()


def test_a_writer_that_came_back_begins_a_new_file(bench: Bench) -> None:
    """Same ring, next epoch: no item is missing, no block has items of both."""
    ring = bench.ring()
    bench.begin()
    write(ring, 130)
    bench.until(lambda: bench.session.streams[STREAM].stored >= 100)
    ring.close(unlink=False)
    ring = bench.ring()
    write(ring, 170)
    bench.finish({name_of(ring): 300})
    assert list(range(300)) == bench.recorded()
    assert 2 == len(list(bench.folder.glob("*.h5")))


def test_another_recorder_goes_on_behind_what_is_in_the_files(bench: Bench) -> None:
    """The journal has where the run began, the files what of it is stored; nobody need say so again."""
    ring = bench.ring()
    write(ring, 20)
    bench.begin()
    write(ring, 500)
    bench.until(lambda: bench.session.streams[STREAM].durable >= 400)
    bench.intake.end()  # and the session is left as a killed process leaves it
    bench.session.close()
    (bench.folder / "session.json").unlink()
    write(ring, 500)
    bench.intake = bench.made_intake()
    bench.session = bench.made_session(resume=True)
    bench.begin(resume=True)
    births = bench.finish({name_of(ring): 1020})
    assert {"origin": 20, "end": 1020, "stored": 1000, "gaps": []} == births[name_of(ring)]
    assert list(range(20, 1020)) == bench.recorded()


def test_a_recorder_that_was_away_too_long_says_what_it_lost(bench: Bench) -> None:
    """A live source does not wait: what it overwrote is a gap of reason `recorder`, and the rest is whole."""
    ring = bench.ring(slots=2048)
    bench.begin()
    write(ring, 1000)
    bench.until(lambda: bench.session.streams[STREAM].stored > 900)
    stored = bench.session.streams[STREAM].stored
    for _ in range(5):
        write(ring, 1000)
    ((first, count, reason),) = bench.finish({name_of(ring): 6000})[name_of(ring)]["gaps"]
    assert (stored, "recorder") == (first, reason)
    assert [*range(stored), *range(stored + count, 6000)] == bench.recorded()


@pytest.mark.parametrize("lossless", ["recorder", "p1"])
def test_a_source_that_can_wait_waits_for_the_recording(bench: Bench, lossless: str) -> None:
    """A ring that names who may be lossless lets the recorder in by its own name, or by the Pilot's."""
    ring = bench.ring(slots=1024, can_wait=True, lossless=[lossless])
    bench.begin()
    assert [(lossless, "lossless")] == [(reader.name, reader.policy) for reader in ring.readers()]


def test_rings_that_nobody_named_end_where_they_are(bench: Bench) -> None:
    """A recorder that leaves without STOP has stored what was published."""
    ring = bench.ring()
    bench.begin()
    write(ring, 321)
    assert 321 == bench.finish({})[name_of(ring)]["end"]


class Asked:
    """A recorder that answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.refusals = 0

    def __call__(self, key: str, value: dict[str, Any], _timeout_s: float) -> Any:
        self.heard.append((key, value))
        if key == "STOP" and self.refusals:
            self.refusals -= 1
            raise ExpiredError("it died")
        births = {"00000000000000a1": {"origin": 0, "end": 5, "stored": 5, "gaps": []}}
        return {STREAM: {"stored": 5, "births": births, "ended": True}} if key == "STOP" else {}


def test_a_recorder_that_came_back_is_told_to_go_on_until_the_run_is_over(tmp_path: Path) -> None:
    """With the folder and the origins of the START; a STOP that it did not live to answer is said again."""
    asked = Asked()
    own = OwnRecording(asked, "p1", tmp_path, [STREAM])
    with pytest.raises(StationError, match=r"p1\.recorder has not come up"):
        own.start("run", {}, resume=False)
    own.met("1")
    origins = {STREAM: {"00000000000000a1": 3}}
    assert tmp_path / "sub" / "run_p1" == own.start("sub/run", origins, resume=False)
    own.met("1")
    assert "START" == asked.heard[-1][0]
    assert not asked.heard[-1][1]["resume"]
    own.met("2")
    again = asked.heard[-1]
    assert ("START", True, origins) == (again[0], again[1]["resume"], again[1]["origins"])
    asked.refusals = 2
    account = own.stop({})
    assert account is not None
    assert 5 == account.streams[STREAM]["00000000000000a1"].stored
    told = len(asked.heard)
    own.met("3")
    assert account == own.stop({})
    assert told == len(asked.heard)


def test_a_pilot_that_came_back_does_not_wait_for_its_recorder(tmp_path: Path) -> None:
    """It forwards on; the recorder is told to go on as soon as it is there."""
    asked = Asked()
    own = OwnRecording(asked, "p1", tmp_path, [STREAM])
    own.start("run", {}, resume=True)
    assert [] == asked.heard
    own.met("1")
    ((key, told),) = asked.heard
    assert ("START", str(tmp_path / "run_p1"), True) == (key, told["directory"], told["resume"])


def test_a_run_that_nobody_ended_ends_where_the_next_begins(tmp_path: Path) -> None:
    """Its Terminal is gone: not one item is between the two recordings, none in both."""
    asked = Asked()
    own = OwnRecording(asked, "p1", tmp_path, [STREAM])
    own.met("1")
    own.start("first", {STREAM: {"00000000000000a1": 3}}, resume=False)
    asked.heard.clear()
    origins = {STREAM: {"00000000000000a1": 70}}
    own.start("second", origins, resume=False)
    assert ["STOP", "START"] == [key for key, _ in asked.heard]
    assert origins == asked.heard[0][1]["ends"] == asked.heard[1][1]["origins"]


@pytest.mark.parametrize("name", ["../else", "/else", "", "a/../../b", "."])
def test_a_name_from_another_machine_stays_in_the_output_folder(tmp_path: Path, name: str) -> None:
    """It is the Terminal's word, and the Pilot's disk."""
    with pytest.raises(StationError, match="cannot be the name of a recording"):
        OwnRecording(Asked(), "p1", tmp_path, []).folder(name)


def test_what_was_recorded_is_read_from_the_closed_folder(bench: Bench) -> None:
    """For a machine with Pilots alone; one that was not closed says so."""
    ring = bench.ring()
    bench.begin()
    write(ring, 10)
    assert "not closed" in closed_recording(bench.folder).problem
    bench.finish({})
    found = closed_recording(bench.folder)
    assert (True, 10) == (found.is_balanced, found.streams[STREAM].stored)
