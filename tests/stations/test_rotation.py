"""Segments that end because they are large or long enough: nothing is lost at the split, and nothing is there twice."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.recordings import MadeStream
from support.rigs import SMALL, RunningRig
from support.waiting import eventually

from pipeline import Message
from stations.recording import Recording, RowsReader, SegmentReader, SessionRecorder, read_journal, verify
from stations.recording.resume import rows_of
from stations.recording.rotation import Rotation
from stations.recording.rows_intake import RowsIntake
from stations.rows import MessageRows

CAM = {"stream": "p1.cam", "shape": (12, 16, 3), "rate": 100}
SIG = {"stream": "p1.sig", "shape": (4,), "dtype": "<i2", "block_items": 16, "rate": 1000}
ODD = {"stream": "p1.odd", "shape": (2,), "dtype": "<f8", "block_items": 8, "rate": 50, "regular": False}
KINDS = (CAM, SIG, ODD)
TESTS = str(Path(__file__).parents[1])
SPLIT = """
import json
from pathlib import Path
from support.recordings import MadeStream
from stations.recording import SessionRecorder
from stations.recording.rotation import Rotation

def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))

cam = MadeStream("p1.cam")
session = SessionRecorder(Path(sys.argv[1]), "demo", rotation=Rotation(segment_s=0.1))
for number in range(30):
    if number == 20:  # the second file can neither grow nor be closed
        try:
            fill(session.directory)
        except OSError:
            pass
    session.store(cam.block(number, codec="raw"), cam.spec)
(session.directory / "ballast").unlink()
session.store(cam.end(30), cam.spec)
print(json.dumps(session.close()))
"""
ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=400k tmpfs "$1"
"$2" -c "$3" "$1/rec"
cp -r "$1/rec" "$4"
"""


def store(session: SessionRecorder, made: MadeStream, first: int, end: int, **header: object) -> None:
    for block in made.blocks(first, end, **header):
        session.store(block, made.spec)


def pieces(folder: Path, stream: str) -> list[tuple[int, int]]:
    """First and end of each file."""
    return [(segment.head.first, segment.end) for segment in Recording(folder)[stream].segments()]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    rotation=st.builds(Rotation, st.sampled_from([0, 1e-6, 0.001, 0.005]), st.sampled_from([0, 0.02, 0.11, 1e3])),
    cuts=st.lists(st.integers(1, 119), max_size=4, unique=True),
)
def test_whatever_the_limits_every_item_is_there_once(
    tmp_path: Path, kind: dict[str, object], rotation: Rotation, cuts: list[int]
) -> None:
    """Bit for bit, in order, without a gap; also where blocks are short."""
    made, folder = MadeStream(**kind), tmp_path / uuid.uuid4().hex  # type: ignore[arg-type] - as written above
    session = SessionRecorder(folder, "demo", rotation=rotation)
    edges = [0, *sorted(cuts), 120]
    for first, end in itertools.pairwise(edges):
        store(session, made, first, end)
    session.store(made.end(120), made.spec)
    (account,) = session.close()[made.spec.stream]["births"].values()

    assert {"origin": 0, "end": 120, "stored": 120, "gaps": []} == account
    items = list(Recording(folder)[made.spec.stream].items())
    assert list(range(120)) == [item.sequence for item in items]
    np.testing.assert_array_equal(made.items(0, 120), np.stack([item.data for item in items]))
    report = verify(folder)
    assert report.ok, report.lines()
    assert 0 == report.streams[made.spec.stream].duplicates


def test_no_segment_is_larger_than_it_may_be(tmp_path: Path) -> None:
    """Each is as full as whole blocks make it; a block that is larger than that has a file of its own."""
    made = MadeStream(**CAM)  # type: ignore[arg-type] - as written above: 576 bytes an image
    session = SessionRecorder(tmp_path / "a", "demo", rotation=Rotation(segment_mb=2_000e-6))
    store(session, made, 0, 10, codec="raw")
    tiny = SessionRecorder(tmp_path / "b", "demo", rotation=Rotation(segment_mb=500e-6))
    store(tiny, made, 0, 3, codec="raw")
    session.close()
    tiny.close()

    assert [(0, 3), (3, 6), (6, 9), (9, 10)] == pieces(tmp_path / "a", "p1.cam")
    assert [(0, 1), (1, 2), (2, 3)] == pieces(tmp_path / "b", "p1.cam")


def test_a_segment_lasts_as_long_as_it_may_in_the_time_of_its_items(tmp_path: Path) -> None:
    """Also of blocks that come late, out of a spool."""
    made = MadeStream(**SIG)  # type: ignore[arg-type] - as written above: 16 ms a block
    session = SessionRecorder(tmp_path / "a", "demo", rotation=Rotation(segment_s=0.064))
    store(session, made, 0, 160)
    store(session, made, 320, 400)
    for block in made.blocks(160, 320):
        session.backfill(block, made.spec)
    session.close()

    live, late = [(0, 64), (64, 128), (128, 160), (320, 384), (384, 400)], [(160, 224), (224, 288), (288, 320)]
    assert sorted(live + late) == sorted(pieces(tmp_path / "a", "p1.sig"))
    assert 400 == len(Recording(tmp_path / "a")["p1.sig"])


def test_a_closed_segment_is_plain_while_the_recording_goes_on(tmp_path: Path) -> None:
    """It opens as any HDF5 file does, and is on the disk before the journal says that it is complete."""
    made = MadeStream(**CAM)  # type: ignore[arg-type] - as written above
    session = SessionRecorder(tmp_path / "a", "demo", rotation=Rotation(segment_s=0.1))
    store(session, made, 0, 25)
    closed: list[Mapping[str, Any]] = []

    def told() -> bool:
        session.tick(0.0)
        closed[:] = [event.fields for event in read_journal(session.journal.path).of_kind("segment_closed")]
        return len(closed) == 2

    assert eventually(told)
    assert [(10, 10), (20, 10)] == [(one["end"], one["items"]) for one in closed]
    for one in closed:
        with SegmentReader(tmp_path / "a" / one["file"]) as segment:
            assert (10, False) == (segment.items, segment.was_killed)
    session.close()


def test_a_recorder_that_comes_back_rotates_on(tmp_path: Path) -> None:
    """Numbers go on behind those of the files that are there."""
    made = MadeStream(**CAM)  # type: ignore[arg-type] - as written above
    rotation = Rotation(segment_s=0.1)
    dead = SessionRecorder(tmp_path / "a", "demo", rotation=rotation)
    store(dead, made, 0, 25)
    dead.streams["p1.cam"].flush()
    dead._sync.close()  # as a killed process leaves it, but for its thread
    alive = SessionRecorder(tmp_path / "a", "demo", rotation=rotation, resume=True)
    store(alive, made, 0, 50)
    alive.close()

    assert [(0, 10), (10, 20), (20, 25), (25, 35), (35, 45), (45, 50)] == pieces(tmp_path / "a", "p1.cam")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_full_at_the_split_is_told_once_and_no_file_is_begun(tmp_path: Path) -> None:
    """What the file kept counts, the rest is lost to the disk; what was closed before is whole."""
    disk, folder = tmp_path / "disk", tmp_path / "a"
    disk.mkdir()
    script = f"import sys; sys.path.insert(0, {TESTS!r})\n{SPLIT}"
    command = ["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh", str(disk), sys.executable, script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    (account,) = json.loads(done.stdout)["p1.cam"]["births"].values()

    stored = account["stored"]
    assert 10 <= stored <= 20
    assert [[stored, 30 - stored, "disk"]] == account["gaps"]
    assert stored == len(Recording(folder)["p1.cam"])
    told = [event.kind for event in read_journal(folder / "session.jsonl").events]
    assert (1, 2) == (told.count("disk_failed"), told.count("segment"))
    assert verify(folder).ok, verify(folder).lines()


def test_rows_of_messages_rotate_too(tmp_path: Path) -> None:
    """By the bytes of their text and arrays."""
    rig = f"rot{uuid.uuid4().hex[:8]}"
    with MessageRows.create(rig, "T", slots=512) as rows:
        session = SessionRecorder(tmp_path / "a", rig, rotation=Rotation(segment_mb=0.005))
        intake = RowsIntake(f"{rig}/T/rows")
        intake.begin(session, 0.0)
        for number in range(100):
            rows.append("DATA", Message(id="1", to="T", sender="p1.task", key="DATA", value={"trial": number}))
        while intake.do_work(0.0) or intake.lag:
            pass
        intake.end()
        session.close()

    (paths,) = rows_of(tmp_path / "a").values()
    assert list(range(100)) == [row["value"]["trial"] for row in Recording(tmp_path / "a").rows("DATA")]
    sizes = []
    for path in paths:
        with RowsReader(path) as file:
            sizes.append(int(sum(file.rows["text"]) + sum(file.rows["arrays"])))
    assert len(paths) == -(-sum(sizes) // 5_000)
    assert max(sizes) <= 5_000
    assert verify(tmp_path / "a").ok, verify(tmp_path / "a").lines()


@pytest.mark.parametrize("limit", ["segment_s = 1", pytest.param("segment_mb = 0.5", marks=pytest.mark.stress)])
def test_a_rig_rotates_its_files_and_loses_nothing(tmp_path: Path, limit: str) -> None:
    """Live, with sensors and a Pilot: every item produced is stored, in several files."""
    text = SMALL.format(name=f"rot-{uuid.uuid4().hex[:8]}") + f"\n[recording]\n{limit}\n"
    with RunningRig(tmp_path, text, "--duration", "4") as rig:
        result = rig.finish()
        assert 0 == rig.process.returncode, rig.said
    for account in result["streams"].values():
        assert account["produced"] == account["stored"] > 0
    assert len(list(rig.recording.glob("p1.cam_part-*.h5"))) >= 3
    report = verify(rig.recording)
    assert report.ok, report.lines()
    assert not any(found.gaps or found.duplicates for found in report.streams.values())
