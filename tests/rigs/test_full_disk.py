"""A disk that is full ends neither the rig nor what its Pilots keep: with room again, the recording becomes whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.full_disk import MB, SmallDisk
from support.rigs import SMALL, RunningRig
from support.waiting import eventually

pytest.importorskip("h5py")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")

NO_MORE = "p1.cam is recorded no more, the rig goes on"
SECONDS = 8
ROOM, MORE = 4 * MB, 60 * MB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that is full after two seconds."""
    with closing(SmallDisk(tmp_path / "out", ROOM, MORE)) as small:
        yield small


def rig_text(spool: Path | None) -> str:
    """Return the rig file; without a folder there is no spool."""
    place = f'spool = "{spool}"' if spool is not None else "spool_bytes = 0"
    return f"{SMALL.format(name=f'full-{uuid.uuid4().hex[:8]}')}\n[pilots.p1]\n{place}\n"


def running(folder: Path, text: str, disk: SmallDisk, *options: str) -> RunningRig:
    """Start the rig in a folder of its own."""
    folder.mkdir()
    return RunningRig(folder, text, *options, within=disk.within, output=folder.parent / "out")


def sums(result: dict[str, Any], row: str) -> dict[str, Any]:
    """Return one column of the account."""
    return {name: account[row] for name, account in result["streams"].items()}


def test_a_rig_whose_disk_is_full_goes_on_and_closes_what_it_has(tmp_path: Path, disk: SmallDisk) -> None:
    """Told once a stream; no process dies; all is acquired to the end; what was stored is read and accounted for."""
    from stations.recording import Recording, read_journal, verify

    with running(tmp_path / "rig", rig_text(None), disk, "--duration", str(SECONDS)) as rig:
        rig.wait_for(NO_MORE)
        result = rig.finish()

    assert 0 == rig.process.returncode, rig.said
    assert "died" not in rig.said
    assert "Traceback" not in rig.said
    (line,) = [line for line in rig.said.splitlines() if NO_MORE in line]
    assert line.endswith("No space left on device")
    streams = result["streams"]
    for stream, least in (("p1.cam", 30 * SECONDS), ("p1.sig", 1000 * SECONDS)):
        account = streams[stream]
        assert account["balanced"]
        assert account["produced"] >= least, "acquisition goes on"
        assert {"disk": account["produced"] - account["stored"]} == account["dropped"]
    assert 30 < streams["p1.cam"]["stored"] < 120

    (folder,) = disk.recordings()
    report = verify(folder)
    assert report.ok, report.lines()
    assert report.closed
    assert [] == [path.name for path in folder.iterdir() if path.name.startswith(".")]
    with Recording(folder) as recording:
        assert sums(result, "stored") == {name: len(recording[name]) for name in recording}
        assert len(recording["p1.cam"]) == len(recording["p1.cam"][:])
    told = [event.fields["stream"] for event in read_journal(folder / "session.jsonl").of_kind("disk_failed")]
    assert sorted(streams) == sorted(told)


def test_what_a_full_disk_did_not_take_comes_into_the_recording_when_the_rig_runs_again(
    tmp_path: Path, disk: SmallDisk
) -> None:
    """The spool has all of it: pending, not lost; the end waits for nothing, and says what to do."""
    from stations.recording import verify

    text = rig_text(tmp_path / "spool")
    with running(tmp_path / "first", text, disk, "--duration", str(SECONDS)) as rig:
        rig.wait_for(NO_MORE)
        result = rig.finish()
    assert 4 == rig.process.returncode, rig.said
    assert "waiting up to" not in rig.said
    assert "make room, run again with the same output folder" in rig.said
    produced, stored, pending = (sums(result, row) for row in ("produced", "stored", "pending"))
    assert {"p1.cam": {}, "p1.sig": {}} == sums(result, "dropped")
    assert pending == {name: produced[name] - stored[name] for name in produced}
    assert pending["p1.cam"] > 30
    (first,) = disk.recordings()
    full = verify(first)
    assert full.ok, full.lines()
    assert pending == {name: stream.pending for name, stream in full.streams.items()}

    disk.make_room()
    with running(tmp_path / "second", text, disk) as again:
        assert eventually(lambda: not any((tmp_path / "spool").rglob("*.spool")), 30), again.said
        result = again.stop()
    assert 0 == again.process.returncode, again.said
    report = verify(first)
    assert (True, 0) == (report.ok, report.pending), report.lines()
    assert produced == {name: stream.stored for name, stream in report.streams.items()}
    assert not any(stream.gaps for stream in report.streams.values())


@pytest.mark.stress
def test_a_disk_that_has_room_again_is_used_and_the_hole_filled(tmp_path: Path, disk: SmallDisk) -> None:
    """While the rig runs: live items go on in a new file, what was missed comes out of the spool."""
    from stations.recording import verify

    with running(tmp_path / "rig", rig_text(tmp_path / "spool"), disk) as rig:
        rig.wait_for(NO_MORE)
        disk.make_room()
        rig.wait_for("p1.cam is recorded again")
        result = rig.stop()
    assert 0 == rig.process.returncode, (rig.said, result)
    assert sums(result, "produced") == sums(result, "stored")
    (folder,) = disk.recordings()
    report = verify(folder)
    assert report.ok, report.lines()
    assert not any(stream.gaps for stream in report.streams.values())
