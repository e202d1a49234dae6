"""Whatever is killed, the rig says so, goes on recording, and the files tell the truth about it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.rigs import SMALL, RunningRig, pipeline
from support.waiting import eventually

from shm import list_segments

h5py = pytest.importorskip("h5py")
pytest.importorskip("hdf5plugin")

BEFORE_S = 2.0
"""Seconds recorded before the kill."""
AFTER_S = 5.0
"""Within so many seconds the rig records again."""


def files_hold(rig: RunningRig, stream: str, condition: Callable[[Any], bool]) -> bool:
    """Whether a segment of the stream, opened while it may be written, fulfils a condition."""
    for part in sorted(rig.recording.glob(f"{stream}_part-*.h5")):
        try:
            with h5py.File(part, "r", swmr=True) as file:
                if condition(file):
                    return True
        except OSError:  # being created, not live yet
            continue
    return False


def newest_s(rig: RunningRig, stream: str) -> float:
    """Return the wall time of the newest item in the files, seconds; 0 if there is none."""
    newest = [0.0]

    def look(file: Any) -> bool:
        length = whole(file)
        if length:
            offset = time.time_ns() - time.monotonic_ns()
            newest[0] = max(newest[0], (int(file["time_ns"][length - 1]) + offset) / 1e9)
        return False

    files_hold(rig, stream, look)
    return newest[0]


def whole(file: Any) -> int:
    """Return how many images of a file that may have lost its writer are whole."""
    return min(len(file[name]) for name in ("data", "seq", "time_ns"))


@pytest.mark.parametrize("victim", ["T.recorder", "p1.cam", "p1", "T"])
def test_a_killed_process_is_replaced_and_the_recording_goes_on(tmp_path: Path, victim: str) -> None:
    """Within five seconds items are stored again; the journal names the dead; the ledger balances."""
    with RunningRig(tmp_path, SMALL.format(name=f"kill-{victim.replace('.', '-')}")) as rig:
        rig.wait_for("recording p1.cam")
        assert eventually(lambda: newest_s(rig, "p1.cam") > 0, 20), rig.said
        time.sleep(BEFORE_S)  # the time that is recorded, not a wait for a condition
        killed = rig.kill(victim)
        assert eventually(lambda: newest_s(rig, "p1.cam") > killed + 0.5, AFTER_S + 0.5), rig.said
        result = rig.stop()

    assert 0 == rig.process.returncode, (rig.said, result)
    assert f"{victim} died (killed by SIGKILL); it is started again" in rig.said
    assert [victim] == [event["name"] for event in rig.events() if event["kind"] == "death"]
    assert all(row["balanced"] for row in result["streams"].values()), result
    check = pipeline("verify", str(rig.recording))
    assert 0 == check.returncode, check.stdout


def test_files_of_a_killed_recorder_open_and_hold_all_but_the_last_second(tmp_path: Path) -> None:
    """Stock h5py, no tool: the killed segment and the next one have every item between them."""
    with RunningRig(tmp_path, SMALL.format(name="kill-whole")) as rig:
        rig.wait_for("recording p1.cam")
        assert eventually(lambda: newest_s(rig, "p1.cam") > 0, 20), rig.said
        time.sleep(BEFORE_S)  # the time that is recorded, not a wait for a condition
        os.kill(rig.pid("T.recorder"), signal.SIGKILL)
        killed = time.time()
        with h5py.File(rig.recording / "p1.cam_part-000.h5", "r", swmr=True) as file:
            held = whole(file)
            offset = time.time_ns() - time.monotonic_ns()
            assert (int(file["time_ns"][held - 1]) + offset) / 1e9 > killed - 1.2
        assert eventually(lambda: newest_s(rig, "p1.cam") > killed + 0.5, 20), rig.said
        rig.stop()
    sequences = []
    for part in sorted(rig.recording.glob("p1.cam_part-*.h5")):
        with h5py.File(part, "r", swmr=True) as file:
            sequences.append(file["seq"][: whole(file)])

    assert 2 == len(sequences)
    assert np.array_equal(np.arange(len(np.concatenate(sequences))), np.concatenate(sequences))


def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    """No process survives, the files open, and `pipeline clean` leaves /dev/shm as it was."""
    name = "kill-all"
    with RunningRig(tmp_path, SMALL.format(name=name)) as rig:
        rig.wait_for("recording p1.cam")
        assert eventually(lambda: newest_s(rig, "p1.cam") > 0, 20), rig.said
        children = psutil.Process(rig.process.pid).children(recursive=True)
        rig.process.kill()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert [] == alive
    pipeline("clean")

    assert [] == [segment.full_name for segment in list_segments(f"{name}/")]
    assert files_hold(rig, "p1.cam", lambda file: len(file["data"]) > 0)
