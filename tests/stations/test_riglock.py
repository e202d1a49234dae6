"""A station of a rig runs once on a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stations.errors import RigRunsError
from stations.riglock import RigLock, first_free


@pytest.fixture(autouse=True)
def own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_second_station_of_that_name_is_refused_and_told_who_has_it() -> None:
    """The message names station, rig and process."""
    with RigLock("lab", ["T", "pilot1"]), pytest.raises(RigRunsError, match=f"station pilot1.*'lab'.*{os.getpid()}"):
        RigLock("lab", ["pilot1"])


def test_terminal_and_pilot_of_one_rig_may_run_apart() -> None:
    """Two roles in two processes are one rig."""
    with RigLock("lab", ["T"]), RigLock("lab", ["pilot1"]):
        pass


def test_a_name_is_free_again_when_its_owner_left() -> None:
    """Nothing has to be cleaned."""
    RigLock("lab", ["T"]).close()
    RigLock("lab", ["T"]).close()


def test_a_rig_that_may_be_renamed_takes_the_next_free_name() -> None:
    """Two demos on one machine do not meet."""
    with first_free("demo", ["T"])[1]:
        name, lock = first_free("demo", ["T"])
        lock.close()

    assert "demo-2" == name
