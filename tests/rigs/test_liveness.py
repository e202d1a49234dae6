"""Who is there, late, lost or one too many, seen from outside while real processes are stopped and doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support.parts import Parts
from support.rigs import PIPELINE, SMALL, RunningRig
from support.waiting import eventually

from pipeline import NetNode, OutcomeError, Pace
from stations.free_ports import free_ports

pytest.importorskip("h5py")

PACE = Pace()
SLACK_S = 1.0
"""What a busy machine and the asking may add to a time."""
NAME = f"live-{uuid.uuid4().hex[:8]}"


class Eye:
    """A node at a station, which sees its neighbours as it sees them."""

    def __init__(self, parts: Parts, station: str) -> None:
        self._station = station
        self._node = NetNode("eye", station, parts.endpoint(station)[1])
        assert self._node.wait_connected(10)

    def peer(self, name: str) -> dict[str, Any] | None:
        """One of its neighbours; None if there is no such, or no answer."""
        try:
            answer = self._node.request(self._station, "NODES", timeout_s=1.0)
        except OutcomeError:
            return None
        return next((peer for peer in answer["peers"] if peer["id"] == name), None)

    def state(self, name: str) -> str:
        """The state of one of its neighbours."""
        peer = self.peer(name)
        return str(peer["state"]) if peer else "unknown"

    def close(self) -> None:
        self._node.release()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with Parts(tmp_path, f'[rig]\nname = "{NAME}"\n[pilots.p1]\n') as parts:
        parts.start("T")
        parts.start("p1")
        yield parts


@pytest.mark.parametrize(("stopped", "watcher"), [("p1", "T"), ("T", "p1")])
def test_a_stopped_station_is_late_then_lost_and_alive_again(parts: Parts, stopped: str, watcher: str) -> None:
    """Both ways: LATE after 1.2 s of silence, LOST after 2.5 s, and ALIVE as the same boot when it goes on."""
    eye = Eye(parts, watcher)
    try:
        assert eventually(lambda: eye.state(stopped) == "ALIVE")
        before = eye.peer(stopped)
        os.kill(parts.pids[stopped], signal.SIGSTOP)
        began = time.monotonic()
        times = {}
        for state in ("LATE", "LOST"):
            assert eventually(lambda state=state: eye.state(stopped) == state, 5), state
            times[state] = time.monotonic() - began
        assert PACE.late_s - PACE.beat_s <= times["LATE"] <= PACE.late_s + SLACK_S
        assert PACE.lost_s - PACE.beat_s <= times["LOST"] <= PACE.lost_s + SLACK_S
        os.kill(parts.pids[stopped], signal.SIGCONT)
        assert eventually(lambda: eye.state(stopped) == "ALIVE", 3)
        after = eye.peer(stopped)
        assert before is not None
        assert after is not None
        assert before["boot"] == after["boot"]
    finally:
        eye.close()


def test_a_second_pilot_of_a_name_is_refused_and_the_first_records_on(tmp_path: Path) -> None:
    """As on another machine: it says why in one line and ends with code 2; the first keeps its boot and its ledger."""
    ports = list(islice(free_ports(), 2))
    terminal = f"[terminal]\nMSGPORT = {ports[0]}\nDATAPORT = {ports[1]}\n"
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with RunningRig(folders[0], SMALL.format(name=f"{NAME}-a") + terminal) as first:
        first.wait_for("recording p1.cam")
        node = NetNode("eye", "T", ports[0])
        try:
            before = {peer["id"]: peer["boot"] for peer in node.request("T", "NODES")["peers"]}
            second = _run_pilot(folders[1], SMALL.format(name=f"{NAME}-b") + terminal)
            assert 2 == second.returncode, second.stderr
            (line,) = second.stderr.splitlines()
            assert line.startswith("pipeline: p1: the id p1 is taken at T; ")
            after = {peer["id"]: (peer["boot"], peer["state"]) for peer in node.request("T", "NODES")["peers"]}
            assert (before["p1"], "ALIVE") == after["p1"]
        finally:
            node.release()
        first.process.send_signal(signal.SIGINT)
        result = first.finish()
    assert 0 == first.process.returncode, (first.said, result)
    assert "died" not in first.said


def _run_pilot(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "rig.toml").write_text(text)
    command = [PIPELINE, "run", "rig.toml", "--role", "pilot"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
