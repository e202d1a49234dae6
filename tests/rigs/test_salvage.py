"""What a dead rig's rings hold becomes a recording like any other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.rigs import SMALL, RunningRig, pipeline
from support.waiting import eventually

from shm import clean, list_segments

pytest.importorskip("h5py")
pytest.importorskip("hdf5plugin")


@pytest.fixture
def name() -> Iterator[str]:
    """A rig's name; what its rings left goes with the test."""
    name = f"salvage-{os.getpid()}"
    try:
        yield name
    finally:
        clean(rig=name)


def kill_all(rig: RunningRig) -> None:
    """Kill every process of a rig at once."""
    children = psutil.Process(rig.process.pid).children(recursive=True)
    for process in (*children, rig.process):
        process.kill()
    psutil.wait_procs(children, timeout=20)
    rig.process.wait(20)


def test_a_rig_killed_at_once_gives_back_its_last_seconds(tmp_path: Path, name: str) -> None:
    """All of what the rings hold, to the newest item and message; each item proves itself; nothing there is changed."""
    from stations.recording import Recording, verify

    with RunningRig(tmp_path, SMALL.format(name=name)) as rig:
        rig.wait_for("recording p1.cam")
        ring = f"{name}/p1.sig"
        assert eventually(
            lambda: any(i.full_name == ring and i.ring and i.ring.published > 5000 for i in list_segments(name)), 30
        )
        assert 0 == pipeline("send", "T", "DATA", '{"trial": 7}', "--rig", name).returncode
        refused = pipeline("salvage", name, "--output", str(tmp_path))
        kill_all(rig)
    left = {info.full_name: info.ring for info in list_segments(f"{name}/") if info.ring is not None}
    done = pipeline("salvage", name, "--output", str(tmp_path / "saved"), "--json")

    assert 2 == refused.returncode
    assert f"rig {name!r} runs on this machine (T, p1)" in refused.stderr
    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    folder = Path(told["recording"])
    report = verify(folder)
    assert report.ok, report.lines()
    for stream, shortest in (("p1.cam", 60), ("p1.sig", 2500)):
        ring_left = left[f"{name}/{stream}"]
        (birth,) = told["streams"][stream]["births"].values()
        assert ring_left.published == birth["end"], "to the newest item that was published"
        assert birth["end"] - birth["origin"] == birth["stored"] + sum(count for _, count, _ in birth["gaps"])
        assert {"lapped"} >= {reason for *_, reason in birth["gaps"]}
        found = report.streams[stream]
        assert found.stored == found.checked >= shortest
    assert [{"trial": 7}] == [row["value"] for row in Recording(folder).rows("DATA")]
    after = {info.full_name: info.ring for info in list_segments(f"{name}/") if info.ring is not None}
    assert {k: (v.published, v.birth, v.epoch, v.readers) for k, v in left.items()} == {
        k: (v.published, v.birth, v.epoch, v.readers) for k, v in after.items()
    }
    assert np.all(np.diff(Recording(folder)["p1.cam"].time[:]) > 0)


def test_there_is_nothing_of_a_rig_that_left_nothing(tmp_path: Path, name: str) -> None:
    """One line that names it, exit code 2, and no folder."""
    done = pipeline("salvage", name, "--output", str(tmp_path / "saved"))
    assert (2, "") == (done.returncode, done.stdout)
    assert f"no ring of rig {name!r} is in shared memory" in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert [] == list(tmp_path.iterdir())
