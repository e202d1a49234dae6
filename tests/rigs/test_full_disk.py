"""A disk that is full ends the recording, not the rig."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from support.rigs import SMALL, RunningRig

pytest.importorskip("h5py")

ON_A_SMALL_DISK = """
disk=$1 copy=$2; shift 2
mkdir "$disk" && mount -t tmpfs -o size=4m tmpfs "$disk" || exit 99
"$@"; code=$?
cp -r "$disk" "$copy"; exit $code
"""
SECONDS = 8


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_rig_whose_disk_is_full_goes_on_and_closes_what_it_has(tmp_path: Path) -> None:
    """Told once a stream; no process dies; all is acquired to the end; what was stored is read and accounted for."""
    from stations.recording import Recording, read_journal, verify

    within = ["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh", str(tmp_path / "out"), str(tmp_path / "copy")]
    text = SMALL.format(name=f"full-{uuid.uuid4().hex[:8]}")
    with RunningRig(tmp_path, text, "--duration", str(SECONDS), within=within) as rig:
        rig.wait_for("p1.cam is recorded no more, the rig goes on")
        result = rig.finish()

    assert 0 == rig.process.returncode, rig.said
    assert "died" not in rig.said
    assert "Traceback" not in rig.said
    (line,) = [line for line in rig.said.splitlines() if "p1.cam is recorded no more" in line]
    assert line.endswith("No space left on device")
    streams = result["streams"]
    for stream, least in (("p1.cam", 30 * SECONDS), ("p1.sig", 1000 * SECONDS)):
        account = streams[stream]
        assert account["balanced"]
        assert account["produced"] >= least, "acquisition goes on"
        assert {"disk": account["produced"] - account["stored"]} == account["dropped"]
    assert 30 < streams["p1.cam"]["stored"] < 120

    (folder,) = [path for path in (tmp_path / "copy").iterdir() if path.name not in ("logs", "spool")]
    report = verify(folder)
    assert report.ok, report.lines()
    assert report.closed
    assert [] == [path.name for path in folder.iterdir() if path.name.startswith(".")]
    with Recording(folder) as recording:
        assert {name: row["stored"] for name, row in streams.items()} == {
            name: len(recording[name]) for name in recording
        }
        assert len(recording["p1.cam"]) == len(recording["p1.cam"][:])
    told = [event.fields["stream"] for event in read_journal(folder / "session.jsonl").of_kind("disk_failed")]
    assert sorted(streams) == sorted(told)
