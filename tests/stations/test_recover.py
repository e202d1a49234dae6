"""A recorder that is killed: what stock h5py opens then, and what `recover` makes of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the blosc filter with h5py
import numpy as np
import pytest
from support.recordings import MadeStream

from stations.recording import Recording, SessionRecorder, recover, verify

CAM, EPHYS = "pilot1.cam0", "pilot1.ephys"
RATE = 200
MAX_LOSS_S = 0.5

RECORD = f"""
import sys, time
from pathlib import Path
from support.recordings import MadeStream
from stations.recording import SessionRecorder

cam = MadeStream({CAM!r}, rate={RATE})
ephys = MadeStream({EPHYS!r}, shape=(8,), dtype="<i2", block_items=16, rate={16 * RATE})
session = SessionRecorder(Path(sys.argv[1]), "demo", max_loss_s={MAX_LOSS_S})
start = time.monotonic()
for number in range(100_000):
    time.sleep(max(0.0, start + number / {RATE} - time.monotonic()))
    session.store(cam.block(number, codec="raw" if number % 3 else "blosc"), cam.spec)
    session.store(ephys.block(16 * number), ephys.spec)
    session.tick(time.monotonic())
    print(number, flush=True)
"""


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, int]:
    """A recording whose recorder was killed after 1.5 s, and the number of its last stored image."""
    folder = tmp_path / "a"
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n{RECORD}", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        recorder.stdout.readline()
        until = time.monotonic() + 1.5
        last = 0
        while time.monotonic() < until:
            last = int(recorder.stdout.readline())
        recorder.kill()
    return folder, last


def test_killed_file_opens_with_stock_h5py_and_holds_all_but_the_last_moments(killed: tuple[Path, int]) -> None:
    """`h5py.File(path, "r", swmr=True)`, no tool; at most `max_loss_s` is missing, every item is bit-good."""
    folder, last = killed
    for made in (
        MadeStream(CAM, rate=RATE),
        MadeStream(EPHYS, shape=(8,), dtype="<i2", block_items=16, rate=16 * RATE),
    ):
        with h5py.File(folder / f"{made.spec.stream}_part-000.h5", "r", swmr=True) as file:
            names = ["data", "seq", "time_ns"] if "seq" in file else ["data"]
            length = min(*(len(file[name]) for name in names), int(file["blocks"]["count"].sum()))
            np.testing.assert_array_equal(made.items(0, length), file["data"][:length])
        assert length >= (last - MAX_LOSS_S * RATE) * made.spec.block_items
        assert length == len(Recording(folder)[made.spec.stream])
    report = verify(folder)
    assert report.ok, report.lines()
    assert not report.closed


def test_recover_makes_killed_files_plain_and_changes_no_chunk(killed: tuple[Path, int]) -> None:
    """Plain open works afterwards, chunks are the same bytes, and a second time nothing is to be done."""
    folder, _ = killed
    path = folder / f"{CAM}_part-000.h5"
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path, "r")
    before = [bytes(chunk.payload) for segment in Recording(folder)[CAM].segments() for chunk in segment]

    report = recover(folder)

    assert ["recovered", "recovered"] == [file.outcome for file in report.files]
    with h5py.File(path, "r") as file:
        assert len(before) == len(file["data"]) == len(file["seq"]) == len(file["time_ns"]) == len(file["blocks"])
        assert before == [file["data"].id.read_direct_chunk((at, 0, 0, 0))[1] for at in range(len(before))]
        np.testing.assert_array_equal(MadeStream(CAM).items(0, len(before)), file["data"][:])
    assert verify(folder).ok
    assert ["plain", "plain"] == [file.outcome for file in recover(folder).files]
    assert {".h5", ".jsonl"} == {path.suffix for path in folder.iterdir()}


def test_recording_goes_on_after_a_kill(killed: tuple[Path, int]) -> None:
    """A new recorder in the same folder stores from where the files end, in new files, and nothing is missing."""
    folder, last = killed
    cam = MadeStream(CAM, rate=RATE)
    session = SessionRecorder(folder, "demo", resume=True, max_loss_s=MAX_LOSS_S)
    for block in cam.blocks(max(0, last - 2 * RATE), last + 50):  # what the ring still holds, then what comes
        session.store(block, cam.spec)
    summary = session.close()[CAM]

    (account,) = summary["births"].values()
    assert {"origin": 0, "end": last + 50, "stored": last + 50, "gaps": []} == account
    assert verify(folder).ok, verify(folder).lines()
    assert list(range(last + 50)) == [item.sequence for item in Recording(folder)[CAM].items()]


def test_single_file_can_be_recovered(killed: tuple[Path, int]) -> None:
    """Only the named file is rewritten."""
    folder, _ = killed

    report = recover(folder / f"{EPHYS}_part-000.h5")

    assert [f"{EPHYS}_part-000.h5"] == [file.file for file in report.files]
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(folder / f"{CAM}_part-000.h5", "r")


@pytest.mark.parametrize("content", [b"", bytes(100_000)], ids=["nothing", "zeros"])
def test_a_file_whose_content_a_power_loss_took_is_named_and_removed(tmp_path: Path, content: bytes) -> None:
    """`verify` says what it is, a recorder that goes on takes the next number, `recover` leaves the others."""
    made = MadeStream(CAM)
    dead = SessionRecorder(tmp_path / "a", "demo")
    dead.store(made.block(0), made.spec)
    dead.close()
    (tmp_path / "a" / f"{CAM}_part-001.h5").write_bytes(content)

    session = SessionRecorder(tmp_path / "a", "demo", resume=True)
    session.store(made.block(1), made.spec)
    session.close()
    (problem,) = verify(tmp_path / "a").streams[CAM].problems

    assert f"{CAM}_part-001.h5: is empty: power was lost before its first sync" == problem
    assert ["plain", "removed", "plain"] == [file.outcome for file in recover(tmp_path / "a").files]
    assert verify(tmp_path / "a").ok
    assert [0, 1] == [item.sequence for item in Recording(tmp_path / "a")[CAM].items()]
