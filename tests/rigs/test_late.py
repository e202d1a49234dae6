"""A Terminal that dies and another that comes: what was acquired in between finds its way into the first recording."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import psutil
import pytest
from support.rigs import RunningRig, camera_and_signal, pipeline
from support.waiting import eventually

from stations.free_ports import free_ports
from stations.recording import verify

pytest.importorskip("h5py")
HEAD = """
[rig]
name = "late"

[terminal]
MSGPORT = {}
DATAPORT = {}
"""
RIG = HEAD + camera_and_signal(1)


def test_what_was_acquired_without_a_terminal_comes_into_the_recording_that_was_running(tmp_path: Path) -> None:
    """The supervisor is killed, its processes with it; the Pilot goes on; a new run in the same folder takes over."""
    with ExitStack() as stack:
        for side in ("first", "second", "pilot"):
            (tmp_path / side).mkdir()
        output, rig = tmp_path / "recordings", RIG.format(*islice(free_ports(), 2))
        first = stack.enter_context(RunningRig(tmp_path / "first", rig, "--role", "terminal", output=output))
        stack.enter_context(RunningRig(tmp_path / "pilot", rig, "--role", "pilot"))
        first.wait_for("recording p1.cam")
        time.sleep(2)  # of recording
        family = psutil.Process(first.process.pid).children(recursive=True)
        first.process.kill()
        psutil.wait_procs(family, timeout=20)
        (old,) = output.glob("late_*")
        assert pipeline("clean").returncode == 0
        time.sleep(4)  # without a Terminal: more than the rings hold
        second = stack.enter_context(
            RunningRig(tmp_path / "second", rig, "--role", "terminal", "--duration", "4", output=output)
        )
        result = second.finish()
        assert second.process.returncode == 0, (second.said, result)
    assert eventually(lambda: verify(old).ok, 5), verify(old).lines()
    report = verify(old)
    assert report.pending == 0
    for name, rate in (("p1.cam", 30), ("p1.sig", 1000)):
        found = report.streams[name]
        lost = sum(gap.count for gap in found.gaps)
        assert found.stored >= 5 * rate, (name, report.lines())
        assert lost <= rate, (name, report.lines())
        assert found.duplicates == 0
