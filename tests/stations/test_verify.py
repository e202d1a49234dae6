"""What `verify` finds: one flipped byte anywhere, what is missing without a reason, what cannot be."""

from __future__ import annotations

import json
import random
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.full_disk import disk_full_at
from support.recordings import MadeStream

from stations.recording import Journal, RecordingFolderError, SessionRecorder, read_journal, verify
from stations.sources.selfcheck import CAMERA_HEAD, camera_crc

CAM, EPHYS = "pilot1.cam0", "pilot1.ephys"


def record(folder: Path, *, skip: int = 0, reason: str = "") -> None:
    """Record two streams of 100 items; of the camera's, `skip` are missing from item 50 on."""
    cam = MadeStream(CAM)
    ephys = MadeStream(EPHYS, shape=(8,), dtype="<i2", block_items=16, rate=1000)
    session = SessionRecorder(folder, "demo")
    for block in [*cam.blocks(0, 50), cam.block(50 + skip, lost=skip if reason else 0, lost_reason=reason)]:
        session.store(block, cam.spec)
    for block in [*cam.blocks(51 + skip, 100), cam.end(100)]:
        session.store(block, cam.spec)
    for block in [*ephys.blocks(0, 100), ephys.end(100)]:
        session.store(block, ephys.spec)
    session.close()


def flip(path: Path, at: int, bit: int = 0x10) -> None:
    """Change one bit on the disk."""
    content = bytearray(path.read_bytes())
    content[at] ^= bit
    path.write_bytes(content)


def place_of(path: Path, dataset: str, row: int) -> int:
    """Return where in the file a row's bytes begin."""
    with h5py.File(path, "r") as file:
        found = file[dataset]
        chunk = found.id.get_chunk_info_by_coord((row, *(0 for _ in found.shape[1:])))
        within = row % found.chunks[0] * found.dtype.itemsize if dataset != "data" else 0
        return int(chunk.byte_offset) + within


def test_whole_recording_is_whole(tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong, and declared losses are listed with their reasons."""
    record(tmp_path / "a", skip=4, reason="link")

    report = verify(tmp_path / "a")

    assert report.ok, report.lines()
    assert (96, 100) == (report.streams[CAM].stored, report.streams[EPHYS].stored)
    assert [(50, 4, "link")] == [(gap.first, gap.count, gap.reason) for gap in report.streams[CAM].gaps]
    assert f"{CAM}: 96 items in 1 files, missing: 4 link" == report.lines()[0]
    json.dumps(report.to_json())


@pytest.mark.parametrize(
    ("stream", "dataset", "row", "item"),
    [(CAM, "data", 37, 37), (EPHYS, "data", 48, 48), (CAM, "seq", 5, 5), (CAM, "time_ns", 6, 6)],
)
def test_flipped_byte_is_found_and_named(tmp_path: Path, stream: str, dataset: str, row: int, item: int) -> None:
    """One changed bit on the disk names the stream, the file and the item, and nothing else."""
    record(tmp_path / "a")
    path = tmp_path / "a" / f"{stream}_part-000.h5"
    flip(path, place_of(path, dataset, row) + (20 if dataset == "data" else 0))

    report = verify(tmp_path / "a")

    assert not report.ok
    assert [stream] == [name for name, found in report.streams.items() if not found.ok]
    assert (path.name, item) == (report.streams[stream].bad_items[0].file, report.streams[stream].bad_items[0].sequence)


KINDS = (
    MadeStream(CAM),
    MadeStream(EPHYS, shape=(8,), dtype="<i2", block_items=16, rate=1000),
    MadeStream(CAM, shape=(2,), dtype="<f8", block_items=4, regular=False),
)
SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.stress) for seed in range(3, 33))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_byte_that_changed_anywhere_in_a_dataset_names_stream_and_item(tmp_path: Path, seed: int) -> None:
    """Ten bytes of each dataset, one after the other: of compressed and raw chunks, and of every field of a row."""
    chance, made = random.Random(seed), KINDS[seed % len(KINDS)]
    session = SessionRecorder(tmp_path / "a", "demo")
    for block in made.blocks(0, 96):
        session.store(block if chance.random() < 0.5 else made.block(block.header.first, codec="raw"), made.spec)
    session.close()
    (path,) = (tmp_path / "a").glob("*.h5")
    with h5py.File(path, "r") as file:
        datasets = list(file)
    for dataset in datasets * 10:
        size = made.spec.block_items if dataset in ("data", "blocks") else 1
        row = chance.randrange(96 // size)
        place, width = place_of(path, dataset, row * (size if dataset == "data" else 1)), width_of(path, dataset, row)
        at, bit = place + chance.randrange(width), 1 << chance.randrange(8)
        flip(path, at, bit)
        found = verify(tmp_path / "a").streams[made.spec.stream]
        flip(path, at, bit)

        told = [str(what) for what in (*found.bad_items, *found.problems) if path.name in str(what)]
        named = {int(number) for what in told for number in re.findall(r"item (\d+)", what)}
        item = row * size
        # Times of irregular items are checked with their block.
        assert named & {item, item - item % made.spec.block_items}, (dataset, row, told)


def width_of(path: Path, dataset: str, row: int) -> int:
    """Return how many bytes a row has, of `data` the chunk."""
    with h5py.File(path, "r") as file:
        return int(file["blocks"][row]["payload_bytes"] if dataset == "data" else file[dataset].dtype.itemsize)


@pytest.mark.parametrize("place", [lambda size: 0, lambda size: size // 3], ids=["signature", "middle"])
def test_damaged_structure_is_a_finding_not_a_crash(tmp_path: Path, place: Callable[[int], int]) -> None:
    """A file that HDF5 refuses, or whose tables are wrong, is named; the others are still checked."""
    record(tmp_path / "a")
    path = tmp_path / "a" / f"{CAM}_part-000.h5"
    for offset in range(64):
        flip(path, place(path.stat().st_size) + offset)

    report = verify(tmp_path / "a")

    assert not report.streams[CAM].ok
    assert report.streams[EPHYS].ok
    assert any(path.name in line for line in report.lines())


def test_missing_without_a_reason_is_accepted_only_beside_a_death_that_explains_so_much(tmp_path: Path) -> None:
    """Four items of a 100 Hz camera can be lost with a Pilot; a thousand in the same second cannot.

    Nor can one that died before there was a recording explain anything.
    """
    record(tmp_path / "silent", skip=4)
    for name, skip, died_s_ago in (("few", 4, 0), ("many", 1000, 0), ("before", 4, 1)):
        folder = tmp_path / name
        cam = MadeStream(CAM)
        session = SessionRecorder(folder, "demo")
        with Journal(folder / "session.jsonl") as journal:
            journal.append("death", name="pilot1", wall_ns=time.time_ns() - died_s_ago * 10**9)
        session.store(cam.block(0), cam.spec)
        session.store(cam.block(1 + skip), cam.spec)
        session.close()

    assert "no process died before it" in verify(tmp_path / "silent").streams[CAM].gaps[0].problem
    assert verify(tmp_path / "few").ok
    assert ["pilot1"] == verify(tmp_path / "few").deaths
    assert "more than the death of pilot1 explains" in verify(tmp_path / "many").streams[CAM].gaps[0].problem
    assert "no process died before it" in verify(tmp_path / "before").streams[CAM].gaps[0].problem
    assert [] == verify(tmp_path / "before").deaths


def test_items_that_prove_themselves_are_checked(tmp_path: Path) -> None:
    """An image damaged before it was sent passes every CRC and fails its own check."""
    cam = MadeStream(CAM, meta={"selfcheck": "camera"})
    session = SessionRecorder(tmp_path / "a", "demo")
    for number in range(4):
        image = cam.items(number, 1)
        content = image.reshape(-1)
        head = np.zeros(1, CAMERA_HEAD)
        body = content[CAMERA_HEAD.itemsize :].tobytes()
        head[0] = (number, camera_crc(zlib.crc32(body), number))
        content[: CAMERA_HEAD.itemsize] = head.view(np.uint8)
        if number == 2:
            content[100] ^= 1
        session.store(cam.block(number, items=image), cam.spec)
    session.close()

    found = verify(tmp_path / "a").streams[CAM]

    assert (4, []) == (found.checked, found.bad_items)
    assert [2] == [item.sequence for item in found.failed_checks]


def test_times_that_go_back_are_found(tmp_path: Path) -> None:
    """Within a stream and birth, time moves on."""
    cam = MadeStream(CAM)
    session = SessionRecorder(tmp_path / "a", "demo")
    for block in (cam.block(0), cam.block(1), cam.block(2, time_ns=5), cam.block(3)):
        session.store(block, cam.spec)
    session.close()

    assert [2] == [item.sequence for item in verify(tmp_path / "a").streams[CAM].backward_times]


def test_summary_is_held_against_the_files(tmp_path: Path) -> None:
    """A file that disappeared is missed."""
    record(tmp_path / "a")
    (tmp_path / "a" / f"{CAM}_part-000.h5").unlink()

    report = verify(tmp_path / "a")

    assert ["session.json says 100 items, the files hold 0"] == report.streams[CAM].problems


def test_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    """The message names the folder and what was looked for."""
    with pytest.raises(RecordingFolderError, match=r"no recording is there \(no session.jsonl, no segment\)"):
        verify(tmp_path)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_journal_that_a_full_disk_cut_in_a_line_is_no_finding(tmp_path: Path, is_killed: bool) -> None:
    """Whoever writes next ends the line and says so: the recorder itself, or the one after it."""
    folder, made = tmp_path / "a", MadeStream()
    session = SessionRecorder(folder, "demo")
    session.store(made.block(0, origin=0), made.spec)
    with disk_full_at(session.journal.path.stat().st_size + 30):
        session.journal.tell("note", text="of more than thirty bytes")
    assert not session.journal.path.read_bytes().endswith(b"\n")
    if is_killed:
        session.streams[made.spec.stream].flush()
        session._sync.close()
        session = SessionRecorder(folder, "demo", resume=True)
    session.store(made.block(1), made.spec)
    session.store(made.end(2), made.spec)
    session.close()

    report = verify(folder)
    assert report.ok, report.lines()
    kinds = [event.kind for event in read_journal(folder / "session.jsonl").events]
    assert (1, 1, int(not is_killed)) == (kinds.count("torn"), kinds.count("end"), kinds.count("note"))
