"""What comes out of a Pilot's spool: stored once, in its place, whenever and in whatever order it comes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.full_disk import disk_full_at
from support.recordings import BIRTH, MadeStream, late, late_spec
from support.waiting import eventually

from pipeline.block import Block, BlockFlag
from pipeline.losses import DAMAGED, LIVE, SPOOLED
from stations.recording import Recording, SessionRecorder, read_journal, verify
from stations.recording.errors import RecordingError
from stations.recording.journal import Journal
from stations.recording.late import LateRecordings

NAME = "pilot1.cam0"
HEX = f"{BIRTH:016x}"
SMALL = {"shape": (2,), "dtype": "<i4"}


def stored(folder: Path) -> list[int]:
    """Return every stored sequence, in the order of the files; each item is checked against its sequence."""
    made = MadeStream(**SMALL)
    found = []
    for item in Recording(folder)[NAME].items():
        assert np.array_equal(item.data, made.items(item.sequence, 1)[0])
        found.append(item.sequence)
    return found


def test_a_spooled_gap_is_filled_and_nothing_is_missing(tmp_path: Path) -> None:
    """The live file, the file after the gap, and one with what came late; the journal tells all of it."""
    made = MadeStream(**SMALL)
    session = SessionRecorder(tmp_path / "a", "demo")
    for block in made.blocks(0, 10, origin=0):
        session.store(block, made.spec)
    session.store(made.block(20, lost=10, lost_reason=SPOOLED), made.spec)
    for block in made.blocks(10, 15):
        session.backfill(late(block), late_spec(made))
    session.store(made.block(21), made.spec)
    for block in made.blocks(15, 20):
        session.backfill(late(block), late_spec(made))
    session.backfill(late(made.end(20), flags=int(BlockFlag.END)), late_spec(made))
    session.store(made.end(22), made.spec)
    summary = session.close()[NAME]

    assert {"origin": 0, "end": 22, "stored": 22, "gaps": []} == summary["births"][HEX]
    assert list(range(22)) == sorted(stored(tmp_path / "a"))
    report = verify(tmp_path / "a")
    assert (report.ok, report.pending, report.streams[NAME].gaps) == (True, 0, [])
    (told,) = read_journal(tmp_path / "a" / "session.jsonl").of_kind("backfilled")
    assert (NAME, HEX, 10) == (told.fields["stream"], told.fields["birth"], told.fields["items"])


def test_what_did_not_come_yet_is_pending_and_no_fault(tmp_path: Path) -> None:
    """`verify` says how many; what the spool lost is lost, with the better reason."""
    made = MadeStream(**SMALL)
    session = SessionRecorder(tmp_path / "a", "demo")
    session.store(made.block(0), made.spec)
    session.store(made.block(20, lost=19, lost_reason=SPOOLED), made.spec)
    session.backfill(late(made.block(8), lost=7, lost_reason=LIVE), late_spec(made))
    session.backfill(late(made.block(12), lost=3, lost_reason=DAMAGED), late_spec(made))
    summary = session.close()[NAME]

    assert [[1, 7, SPOOLED], [9, 3, DAMAGED], [13, 7, SPOOLED]] == summary["births"][HEX]["gaps"]
    report = verify(tmp_path / "a")
    assert (True, 14) == (report.ok, report.pending)
    assert f"{tmp_path / 'a'}: pending: 14 items are in the spool" == report.lines()[-1]


def test_a_block_of_which_some_is_stored_gives_the_rest(tmp_path: Path) -> None:
    """Two processes of a Pilot may have cut the same items into blocks differently."""
    made = MadeStream(block_items=8, **SMALL)
    session = SessionRecorder(tmp_path / "a", "demo")
    session.store(made.block(0, origin=0), made.spec)
    session.store(made.block(24, lost=16, lost_reason=SPOOLED), made.spec)
    session.backfill(late(made.block(12)), late_spec(made))
    session.backfill(late(made.block(6)), late_spec(made))
    session.backfill(late(made.block(16)), late_spec(made))
    session.close()
    assert list(range(32)) == sorted(stored(tmp_path / "a"))
    assert 0 == verify(tmp_path / "a").streams[NAME].duplicates


def test_late_blocks_may_come_before_the_live_stream_and_in_any_order(tmp_path: Path) -> None:
    """Where the run began is not known yet: what comes later may be older."""
    made = MadeStream(**SMALL)
    blocks = list(made.blocks(0, 24, origin=0))
    session = SessionRecorder(tmp_path / "a", "demo")
    for block in (blocks[2], blocks[1]):
        session.backfill(late(block), late_spec(made))
    session.store(blocks[0], made.spec)
    session.close()
    assert [0, 1, 2] == sorted(stored(tmp_path / "a"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_item_is_stored_once_whatever_the_order(data: st.DataObject) -> None:
    """Live blocks in order, late ones in any, some twice, some never; and a recorder that goes on after a death."""
    made = MadeStream(**SMALL)
    blocks = list(made.blocks(0, 24, origin=0))
    spooled = data.draw(st.sets(st.integers(1, 22)))
    coming = data.draw(st.lists(st.sampled_from(sorted(spooled)))) if spooled else []
    lives, lost = [], 0
    for block in blocks:
        if block.header.first in spooled:
            lost += 1
        else:
            told = {"lost": lost, "lost_reason": SPOOLED if lost else ""}
            lives.append(Block(msgspec.structs.replace(block.header, **told), block.times, block.payload))
            lost = 0
    lates = [late(blocks[first]) for first in coming]
    turns = data.draw(st.permutations([True] * len(lives) + [False] * len(lates)))
    deaths = data.draw(st.sets(st.integers(0, len(turns)), max_size=2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "a"
        session = SessionRecorder(folder, "demo")
        for number, is_live in enumerate(turns):
            if number in deaths:
                session.close()
                session = SessionRecorder(folder, "demo", resume=True)
            if is_live:
                session.store(lives.pop(0), made.spec)
            else:
                session.backfill(lates.pop(0), late_spec(made))
        row = session.close()[NAME]["births"][HEX]
        assert sorted(stored(folder)) == sorted(set(range(24)) - (spooled - set(coming)))
        assert {reason for _, _, reason in row["gaps"]} <= {SPOOLED}
        assert (row["origin"], row["end"]) == (0, 24)
        assert row["stored"] + sum(count for _, count, _ in row["gaps"]) == 24
        assert verify(folder).ok


def closed_recording(folder: Path, rig: str = "demo") -> MadeStream:
    """Make a recording of which ten items wait in a spool."""
    made = MadeStream(**SMALL)
    folder.mkdir(parents=True)
    with Journal(folder / "session.jsonl") as journal:
        journal.append("here", name="pilot1")  # a rig tells of its members before the recorder begins
    session = SessionRecorder(folder, rig)
    session.store(made.block(0), made.spec)
    session.store(made.block(11, lost=10, lost_reason=SPOOLED), made.spec)
    session.close()
    return made


@pytest.mark.parametrize("name", ["a", "sub-1/ses-2/run-01"])
def test_a_recording_that_is_over_is_opened_filled_and_closed_again(tmp_path: Path, name: str) -> None:
    """Its summary then says what its files hold."""
    made = closed_recording(tmp_path / name)
    assert 10 == verify(tmp_path / name).pending
    recordings = LateRecordings("demo", tmp_path, 1.0)
    for block in made.blocks(1, 11):
        recordings.open(str(tmp_path / name)).backfill(late(block), late_spec(made))
    recordings.close(str(tmp_path / name))
    report = verify(tmp_path / name)
    assert (True, True, 0, 12) == (report.ok, report.closed, report.pending, report.streams[NAME].stored)


@pytest.mark.parametrize("where", ["elsewhere/a", "a/../../a", "missing", "other-rig", "link"])
def test_only_recordings_of_this_rig_in_its_output_folder_are_opened(tmp_path: Path, where: str) -> None:
    """The name comes from another machine: nothing is made, and no folder outside is touched."""
    output = tmp_path / "out"
    closed_recording(tmp_path / "elsewhere" / "a")
    closed_recording(output / "other-rig", rig="another")
    (output / "link").symlink_to(tmp_path / "elsewhere" / "a")
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / where if where == "elsewhere/a" else output / where
    with pytest.raises(RecordingError):
        LateRecordings("demo", output, 1.0).open(str(path))
    assert before == sorted(tmp_path.rglob("*"))


def test_a_disk_that_is_full_again_while_a_recording_is_filled_leaves_the_rest_pending(tmp_path: Path) -> None:
    """What it did not keep is in the spool still; the next time it comes."""
    folder, made = tmp_path / "a", MadeStream(shape=(64, 64, 3))
    session = SessionRecorder(folder, "demo")
    session.store(made.block(0, codec="raw"), made.spec)
    session.store(made.block(61, lost=60, lost_reason=SPOOLED), made.spec)
    session.close()
    recordings = LateRecordings("demo", tmp_path, 1.0)
    with disk_full_at(400_000):
        for block in made.blocks(1, 61, codec="raw"):
            recordings.open(str(folder)).backfill(late(block), late_spec(made))
        recordings.close(str(folder))
    full = verify(folder)
    assert full.ok, full.lines()
    assert full.pending == 62 - full.streams[NAME].stored > 30
    for block in made.blocks(1, 61, codec="raw"):
        recordings.open(str(folder)).backfill(late(block), late_spec(made))
    recordings.close(str(folder))
    report = verify(folder)
    assert (True, 0, 62) == (report.ok, report.pending, report.streams[NAME].stored), report.lines()


def test_a_disk_that_fails_takes_back_what_was_in_that_file_and_nothing_else(tmp_path: Path) -> None:
    """A late file has what came before and after items of the live one: those stay, they are on the disk."""
    folder, made = tmp_path / "a", MadeStream(shape=(64, 64, 3))
    session = SessionRecorder(folder, "demo")
    recorder = session.stream(NAME)
    session.store(made.block(0), made.spec)
    for first in range(2, 10):
        session.store(made.block(first, lost=int(first == 2), lost_reason=SPOOLED), made.spec)
    session.store(made.block(20, lost=10, lost_reason=SPOOLED), made.spec)
    recorder.flush()
    assert eventually(lambda: recorder.durable == 10, 5)
    with disk_full_at(100_000):
        for block in [made.block(1, codec="raw"), *made.blocks(10, 20, codec="raw")]:
            session.backfill(late(block), late_spec(made))
    balance = recorder.balance()
    session.close()
    report = verify(folder)

    assert report.ok, report.lines()
    assert 10 <= report.streams[NAME].stored == recorder.stored < 21
    assert (21, 0) == (balance["accounted"], balance["missing"])
    assert balance["pending"] == 21 - recorder.stored
