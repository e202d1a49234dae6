"""A rig that runs on this machine can be found; one that is dead cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

import pytest

from stations.errors import NoRigError
from stations.riglock import Announcement, RigLock, is_held
from stations.running import find_station, running_stations


@pytest.fixture(autouse=True)
def own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def station(rig: str, name: str, kind: Literal["terminal", "pilot"] = "terminal") -> Announcement:
    return Announcement(rig, name, kind, f"tcp://127.0.0.1:{20_000 + len(name)}", os.getpid())


def test_the_only_rig_is_found_by_its_terminal() -> None:
    """Nobody has to name it; a Pilot is the way in only where no Terminal runs."""
    with RigLock("lab", ["T", "pilot1"]) as lock:
        lock.announce([station("lab", "pilot1", "pilot"), station("lab", "T")])
        assert station("lab", "T") == find_station() == find_station("lab")
        assert ["T", "pilot1"] == [found.station for found in running_stations()]
    with RigLock("lab", ["pilot1"]) as lock:
        lock.announce([station("lab", "pilot1", "pilot")])
        assert "pilot1" == find_station("lab").station


def test_without_a_rig_the_error_says_how_to_get_one() -> None:
    """What was looked for, and what to do."""
    with pytest.raises(NoRigError, match=r"no rig of yours runs.*pipeline demo.*--at"):
        find_station()
    with pytest.raises(NoRigError, match=r"rig 'lab' does not run"):
        find_station("lab")


def test_of_several_rigs_one_must_be_named() -> None:
    """Their names are in the error; a mistyped one is answered with the one that was meant."""
    with RigLock("demo", ["T"]) as one, RigLock("demo-2", ["T"]) as other:
        one.announce([station("demo", "T")])
        other.announce([station("demo-2", "T")])
        with pytest.raises(NoRigError, match=r"2 rigs run .*: demo, demo-2; say --rig NAME"):
            find_station()
        assert "demo-2" == find_station("demo-2").rig
        with pytest.raises(NoRigError, match=r"'dmeo' does not run on this machine; did you mean 'demo'\?"):
            find_station("dmeo")


def test_what_a_killed_rig_left_is_not_taken_for_a_rig() -> None:
    """Its announcement lies there still, but nobody holds its lock; nor is a foreign file one."""
    program = """if True:
        import os, signal
        from stations.riglock import Announcement, RigLock
        lock = RigLock("lab", ["T"])
        lock.announce([Announcement("lab", "T", "terminal", "tcp://127.0.0.1:1", os.getpid())])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", program], check=False)
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "pipeline"
    assert (folder / "lab.T.station").exists()
    (folder / "other.T.station").write_text("not JSON")
    assert [] == running_stations()


def test_looking_never_keeps_a_rig_from_starting() -> None:
    """Whoever looks holds the lock for a moment, and a start waits that long."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_held("lab", "T")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    RigLock("lab", ["T"]).close()
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            RigLock("lab", ["T"]).close()
    finally:
        stop.set()
        for looker in lookers:
            looker.join()
