"""Recording streams of blocks: segments, gaps, duplicates, going on after a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.full_disk import disk_full_at
from support.recordings import BIRTH, MadeStream, late, late_spec
from support.waiting import eventually

from pipeline.block import BlockFlag
from stations.recording import Recording, RecordingFolderError, SessionRecorder, read_journal, verify
from stations.recording.reserve import RESERVE_BYTES

NAME = "pilot1.cam0"
HEX = f"{BIRTH:016x}"
TESTS = str(Path(__file__).parents[1])
FILL = """
import json, resource
from pathlib import Path
from support.recordings import MadeStream
from stations.recording import SessionRecorder

cam = MadeStream(shape=(64, 64, 3))
ephys = MadeStream("pilot1.ephys", shape=(8,), dtype="<i2", block_items=16)
session = SessionRecorder(Path(sys.argv[1]), "demo", max_loss_s=0.1)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for number in range(100):
    session.store(cam.block(number, codec="raw"), cam.spec)
    session.store(ephys.block(16 * number), ephys.spec)
    session.tick(number / 100)
session.store(cam.end(100), cam.spec)
session.store(ephys.end(1600), ephys.spec)
print(json.dumps(session.close({cam.spec.stream: {cam.spec.birth: json.loads(sys.argv[2])}})))
"""


def store(session: SessionRecorder, made: MadeStream, first: int, end: int, **header: object) -> None:
    """Store the blocks of [first, end)."""
    for block in made.blocks(first, end, **header):
        session.store(block, made.spec)


def crash(session: SessionRecorder) -> None:
    """Leave everything as a killed process does; only its thread must not stay behind in this one."""
    session._sync.close()


def files(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, first and end of each segment."""
    return [(s.path.name, s.head.first, s.end) for stream in Recording(folder).values() for s in stream.segments()]


def test_everything_stored_is_read_back_and_the_account_balances(tmp_path: Path) -> None:
    """Images, samples and irregular items come back bit for bit with sequence and time."""
    made = [
        MadeStream(),
        MadeStream("pilot1.ephys", shape=(8,), dtype="<i2", block_items=64, rate=3000),
        MadeStream("pilot2.host", shape=(5,), dtype="<f8", rate=20, regular=False),
    ]
    session = SessionRecorder(tmp_path / "a", "demo", [one.spec.stream for one in made])
    for one in made:
        store(session, one, 0, 200)
        session.store(one.end(200), one.spec)
    assert session.is_drained(one.spec.stream for one in made)
    summary = session.close()

    recording = Recording(tmp_path / "a")
    for one in made:
        items = list(recording[one.spec.stream].items())
        np.testing.assert_array_equal(one.items(0, 200), np.stack([item.data for item in items]))
        assert list(range(200)) == [item.sequence for item in items]
        assert one.times(0, 200).tolist() == [item.time_ns for item in items]
        account = {"origin": 0, "end": 200, "stored": 200, "gaps": []}
        assert {"stored": 200, "births": {HEX: account}, "ended": True} == summary[one.spec.stream]
    written = json.loads((tmp_path / "a" / "session.json").read_text())
    assert 200 == written["streams"][NAME]["stored"]
    assert ["pilot1.cam0_part-000.h5"] == written["streams"][NAME]["files"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (MadeStream(), [(0, 25)]),
        (MadeStream(shape=(3,), block_items=1, regular=False), [(0, 25)]),
        (MadeStream(shape=(3,), block_items=2), [(0, 16), (20, 21), (24, 25)]),
    ],
    ids=["images", "irregular items", "samples"],
)
def test_gap_has_the_reason_of_whoever_lost_it(
    tmp_path: Path, made: MadeStream, expected: list[tuple[int, int]]
) -> None:
    """The Pilot's reason where it gave one, `recorder` where blocks were overwritten here, `unknown` otherwise.

    Behind a short block samples go on in a new file: chunks lie on a grid.
    """
    session = SessionRecorder(tmp_path / "a", "demo")
    store(session, made, 0, 10)
    session.store(made.block(15, 1, lost=5, lost_reason="link"), made.spec)
    session.store(made.block(20, 1), made.spec, missed=True)
    session.store(made.block(24, 1), made.spec)
    session.store(made.end(30, lost=2, lost_reason="lapped"), made.spec)
    account = session.close()[NAME]["births"][HEX]

    gaps = [[10, 5, "link"], [16, 4, "recorder"], [21, 3, "unknown"], [25, 3, "unknown"], [28, 2, "lapped"]]
    assert {"origin": 0, "end": 30, "stored": 13, "gaps": gaps} == account
    assert expected == [(first, end) for _, first, end in files(tmp_path / "a")]
    assert [*range(10), 15, 20, 24] == list(Recording(tmp_path / "a")[NAME].sequence)
    assert verify(tmp_path / "a").streams[NAME].stored == 13
    told = read_journal(tmp_path / "a" / "session.jsonl").of_kind("gap")
    assert gaps == [[gap.fields["first"], gap.fields["count"], gap.fields["reason"]] for gap in told]


def test_loss_told_without_items_is_accounted_for(tmp_path: Path) -> None:
    """Two losses of different reasons come as a GAP and a block."""
    made = MadeStream()
    session = SessionRecorder(tmp_path / "a", "demo")
    store(session, made, 0, 2)
    session.store(made.block(5, 0, flags=int(BlockFlag.GAP), lost=3, lost_reason="link"), made.spec)
    session.store(made.block(9, lost=4, lost_reason="lapped"), made.spec)

    assert [[2, 3, "link"], [5, 4, "lapped"]] == session.close()[NAME]["births"][HEX]["gaps"]


def test_new_birth_epoch_and_short_block_begin_new_segments(tmp_path: Path) -> None:
    """Within one file there is one generation, one epoch, and no block after a short one."""
    made = MadeStream(shape=(4,), dtype="<i2", block_items=8)
    session = SessionRecorder(tmp_path / "a", "demo")
    store(session, made, 0, 20)
    store(session, made, 20, 36, epoch=1)
    store(session, made, 36, 44, epoch=2)
    store(session, MadeStream(shape=(4,), dtype="<i2", block_items=8, birth=7), 0, 8)
    summary = session.close()[NAME]

    expected = [(0, 20), (20, 36), (36, 44), (0, 8)]
    assert [(f"{NAME}_part-{n:03d}.h5", *run) for n, run in enumerate(expected)] == files(tmp_path / "a")
    assert {HEX: 44, f"{7:016x}": 8} == {birth: row["stored"] for birth, row in summary["births"].items()}


def test_joining_a_run_in_its_middle_is_no_loss_but_missing_its_begin_is(tmp_path: Path) -> None:
    """What was sent before the recording began does not count; what was sent since does."""
    made = MadeStream()
    session = SessionRecorder(tmp_path / "a", "demo")
    other = MadeStream("pilot1.cam1")
    begun = MadeStream("pilot1.cam2")
    session.store(made.block(50), made.spec, joined_late=True)
    session.store(other.block(50, origin=40), other.spec)
    session.store(
        begun.block(50, flags=int(BlockFlag.BEGIN), origin=48, lost=2, lost_reason="link"), begun.spec, joined_late=True
    )
    summary = session.close()

    rows = {name: row["births"][HEX] for name, row in summary.items()}
    assert (50, []) == (rows[NAME]["origin"], rows[NAME]["gaps"])
    assert (40, [[40, 10, "unknown"]]) == (rows["pilot1.cam1"]["origin"], rows["pilot1.cam1"]["gaps"])
    assert (48, [[48, 2, "link"]]) == (rows["pilot1.cam2"]["origin"], rows["pilot1.cam2"]["gaps"])


@pytest.mark.parametrize("regular", [True, False])
def test_what_comes_again_is_stored_once(tmp_path: Path, regular: bool) -> None:
    """Known blocks are passed over; of one that is known in part only the rest is stored."""
    made = MadeStream(shape=(4,), dtype="<i2", block_items=8, regular=regular)
    session = SessionRecorder(tmp_path / "a", "demo")
    store(session, made, 0, 24)
    store(session, made, 8, 24)
    session.store(made.block(20), made.spec)
    store(session, made, 28, 36)
    session.close()

    items = list(Recording(tmp_path / "a")[NAME].items())
    assert 20 == session.streams[NAME].duplicates
    assert list(range(36)) == [item.sequence for item in items]
    np.testing.assert_array_equal(made.items(0, 36), np.stack([item.data for item in items]))
    assert made.times(0, 36).tolist() == [item.time_ns for item in items]


def test_recorder_goes_on_where_its_files_end(tmp_path: Path) -> None:
    """A second recorder stores what the first had not flushed, in new files, and keeps the account."""
    made = MadeStream()
    dead = SessionRecorder(tmp_path / "a", "demo")
    dead.store(made.block(10, flags=int(BlockFlag.BEGIN), origin=8, lost=2, lost_reason="link"), made.spec)
    store(dead, made, 11, 20)
    dead.tick(0.0)
    dead.tick(10.0)
    store(dead, made, 20, 30)  # never flushed
    crash(dead)

    alive = SessionRecorder(tmp_path / "a", "demo", resume=True)
    store(alive, made, 0, 40)
    summary = alive.close()[NAME]

    assert {"origin": 8, "end": 40, "stored": 32, "gaps": []} == summary["births"][HEX]  # what was lost came after all
    assert [(10, 20), (8, 40)] == [(first, end) for _, first, end in files(tmp_path / "a")]


def test_what_was_overwritten_while_no_recorder_lived_is_its_loss(tmp_path: Path) -> None:
    """After a restart too late, the hole has the reason `recorder`."""
    made = MadeStream()
    dead = SessionRecorder(tmp_path / "a", "demo")
    store(dead, made, 0, 10)
    dead.streams[NAME].flush()
    crash(dead)

    alive = SessionRecorder(tmp_path / "a", "demo", resume=True)
    store(alive, made, 14, 20)
    alive.store(made.block(21), made.spec)

    assert [[10, 4, "recorder"], [20, 1, "unknown"]] == alive.close()[NAME]["births"][HEX]["gaps"]


def test_stream_that_had_ended_before_the_crash_has_ended(tmp_path: Path) -> None:
    """A recorder that comes back does not wait for an END that was seen already."""
    made = MadeStream()
    dead = SessionRecorder(tmp_path / "a", "demo")
    store(dead, made, 0, 10)
    dead.store(made.end(12, lost=2, lost_reason="link"), made.spec)
    crash(dead)

    alive = SessionRecorder(tmp_path / "a", "demo", resume=True)

    assert alive.is_drained([NAME])
    assert {"origin": 0, "end": 12, "stored": 10, "gaps": [[10, 2, "link"]]} == alive.close()[NAME]["births"][HEX]


def test_folder_with_a_recording_is_refused(tmp_path: Path) -> None:
    """Nothing is ever overwritten, and a place that is no folder is named."""
    SessionRecorder(tmp_path / "a", "demo").close()

    with pytest.raises(RecordingFolderError, match=r"holds a recording already \(session.json\)"):
        SessionRecorder(tmp_path / "a", "demo")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingFolderError, match="Not a directory"):
        SessionRecorder(tmp_path / "file" / "b", "demo")


@pytest.mark.parametrize("spool", [[], [[0, 100]], [[0, 60], [70, 80], [90, 200]]])
def test_full_disk_ends_a_stream_with_everything_accounted_for(tmp_path: Path, spool: list[list[int]]) -> None:
    """What is stored stays readable; what is not is pending if the spool has it, else `disk`; the other goes on."""
    folder = tmp_path / "a"
    script = f"import sys; sys.path.insert(0, {TESTS!r})\n{FILL}"
    command = [sys.executable, "-c", script, str(folder), json.dumps(spool)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)

    (account,) = summary[NAME]["births"].values()
    assert 0 < account["stored"] < 50
    kept = {item for first, end in spool for item in range(max(first, account["stored"]), min(end, 100))}
    reasons = {n: reason for first, count, reason in account["gaps"] for n in range(first, first + count)}
    assert reasons == {n: "spooled" if n in kept else "disk" for n in range(account["stored"], 100)}
    found = verify(folder).streams[NAME].gaps
    assert account["gaps"] == [[gap.first, gap.count, gap.reason] for gap in found]
    assert len(kept) == verify(folder).pending
    assert account["stored"] == len(Recording(folder)[NAME])
    assert 1600 == summary["pilot1.ephys"]["stored"] == len(Recording(folder)["pilot1.ephys"])
    failed = list(read_journal(folder / "session.jsonl").of_kind("disk_failed"))
    assert ["File too large"] == [event.fields["error"].rpartition(": ")[2] for event in failed]
    assert verify(folder).ok, verify(folder).lines()


def test_a_disk_without_room_is_refused_and_room_is_kept_for_the_end(tmp_path: Path) -> None:
    """Before anything is written there; while a recording runs a reserve is held, and given back at its end."""
    with disk_full_at(RESERVE_BYTES // 2), pytest.raises(RecordingFolderError, match="cannot record there: File too"):
        SessionRecorder(tmp_path / "a", "demo")
    assert [] == list((tmp_path / "a").iterdir())

    session = SessionRecorder(tmp_path / "a", "demo")
    assert RESERVE_BYTES <= 512 * (tmp_path / "a" / ".reserve").stat().st_blocks
    session.close()
    assert ["session.json", "session.jsonl"] == sorted(path.name for path in (tmp_path / "a").iterdir())


def test_streams_take_turns_in_flushing(tmp_path: Path) -> None:
    """Over one period every stream is flushed once and no two at the same instant."""
    made = [MadeStream(f"pilot1.cam{number}") for number in range(5)]
    session = SessionRecorder(tmp_path / "a", "demo", [one.spec.stream for one in made], max_loss_s=1.0)
    flushed = [session.tick(1000 + step / 100) for step in range(150)]
    session.close()

    assert 5 == sum(flushed[:50]) == sum(flushed[50:100])
    assert 1 == max(flushed)


def test_status_lines(tmp_path: Path) -> None:
    """What is printed of a recorder says how it is."""
    made = MadeStream()
    session = SessionRecorder(tmp_path / "a", "demo", [NAME])
    store(session, made, 0, 3)

    assert "<SessionRecorder a recording streams=1 stored=3>" == repr(session)
    assert "<StreamRecorder pilot1.cam0 stored=3 durable=0 recording>" == repr(session.streams[NAME])
    msgspec.msgpack.encode(session.close())


def test_what_is_durable_of_a_file_with_holes_is_what_is_in_it(tmp_path: Path) -> None:
    """A Pilot's spool forgets what is told as durable: never what was not there."""
    made = MadeStream()
    session = SessionRecorder(tmp_path / "a", "demo")
    recorder, expected = session.stream(NAME), []
    for first in range(0, 60, 6):
        store(session, made, first, first + 2)
        expected.append((first, first + 2))
        session.tick(10.0 * len(expected))
        assert eventually(lambda: recorder.durable == 2 * len(expected))
        assert expected == list(recorder.durable_ranges()[BIRTH])
    session.close()
    assert 1 == len(files(tmp_path / "a"))


def test_after_a_death_the_holes_of_a_file_are_known(tmp_path: Path) -> None:
    """What lies in them may still come out of a spool."""
    made = MadeStream()
    dead = SessionRecorder(tmp_path / "a", "demo")
    for first in (0, 10, 20):
        store(dead, made, first, first + 5)
    dead.close()
    alive = SessionRecorder(tmp_path / "a", "demo", resume=True)
    recorder = alive.streams[NAME]
    assert eventually(lambda: recorder.durable == 15)
    assert [(0, 5), (10, 15), (20, 25)] == list(recorder.durable_ranges()[BIRTH])
    alive.backfill(late(made.block(7)), late_spec(made))
    store(alive, made, 12, 30)
    alive.close()
    assert [*range(5), 7, *range(10, 30)] == list(Recording(tmp_path / "a")[NAME].sequence)
