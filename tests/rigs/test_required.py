"""A run does not start without what it requires, says what that is, and starts when it is there."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from support.rigs import RunningRig
from support.waiting import eventually

from shm import RingWriter
from stations.recording import Recording, verify

pytest.importorskip("h5py")

RIG = """
[rig]
name = "{name}"
PING_INTERVAL = 0
max_loss_s = 0.5
[pilots.p1.streams.slow]
source = "python:late:Late"
[pilots.p1.streams.cam]
ring = "{name}-cam"
required = {required}
"""
LATE = """
from pathlib import Path
from time import sleep
from stations.sources import SourceSpec

class Late:
    spec = SourceSpec(shape=(2,), dtype="<i2", rate=100.0, paced=True)

    def open(self):
        while not Path("go").exists():
            sleep(0.01)

    def read_into(self, out):
        out[:] = 7
        return len(out)

    def close(self):
        pass
"""


def test_a_rig_waits_for_its_required_streams_and_says_so(tmp_path: Path) -> None:
    """For a sensor whose device takes its time, and for a ring that somebody else makes; then it records both."""
    name = f"req-{uuid.uuid4().hex[:8]}"
    (tmp_path / "late.py").write_text(LATE)
    with RunningRig(tmp_path, RIG.format(name=name, required="true")) as rig:
        rig.wait_for("p1.slow: its sensor has not come up")
        rig.wait_for(f"p1.cam: its ring does not exist ({name}-cam)")
        (tmp_path / "go").write_text("")
        rig.wait_for(f"waiting for p1.cam: its ring does not exist ({name}-cam)\n")
        assert [] == list(rig.recording.iterdir())
        with RingWriter.create(f"{name}-cam", shape=(4,), dtype="u1", slots=64, meta={"rate": 100.0}) as ring:
            rig.wait_for("recording p1.slow, p1.cam; a death costs 0.5 s of it at most\n")

            def is_recorded() -> bool:
                ring.write(np.full(4, 9, "u1"))
                return len(list(rig.recording.glob("p1.*.h5"))) == 2

            assert eventually(is_recorded, 10), rig.said
            result = rig.stop()
        assert 0 == rig.process.returncode, rig.said
        assert min(account["stored"] for account in result["streams"].values()) > 0
        report = verify(rig.recording)
        assert report.ok, report.lines()
        assert {9} == set(np.unique(Recording(rig.recording)["p1.cam"][:]))


def test_a_rig_starts_without_what_it_does_not_require(tmp_path: Path) -> None:
    """A ring that nobody made is taken when it comes."""
    name = f"req-{uuid.uuid4().hex[:8]}"
    (tmp_path / "late.py").write_text(LATE)
    (tmp_path / "go").write_text("")
    with RunningRig(tmp_path, RIG.format(name=name, required="false"), "--duration", "1") as rig:
        result = rig.finish()
        assert "its ring does not exist" not in rig.said
        assert result["streams"]["p1.slow"]["stored"] > 0
