"""A Pilot that records on its own machine: as much as the Terminal does, and without it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.rigs import RunningRig, camera_and_signal, pipeline
from support.waiting import eventually

from shm import Counters, ShmError
from stations.free_ports import free_ports

pytest.importorskip("h5py")

from stations.recording import Recording, read_journal, verify

RIG = """
[rig]
name = "{name}"
max_loss_s = 0.5
PING_INTERVAL = 0

[terminal]
{terminal}

[pilots.p1]
record = true
""" + camera_and_signal(1)
STREAMS = ("p1.cam", "p1.sig")


def folders(output: Path) -> tuple[Path, Path]:
    """Return the Terminal's recording and the Pilot's."""
    own = next(iter(output.glob("*_p1")))
    return own.with_name(own.name.removesuffix("_p1")), own


def own_stored(name: str) -> int:
    """Return how many images the Pilot's recorder has brought to the disk."""
    try:
        with Counters.attach(f"{name}/p1.recorder") as counters:
            return counters.read().get("p1.cam.durable", 0)
    except ShmError:  # it has not come up
        return 0


def assert_whole(own: Path) -> None:
    """Nothing is missing in a recording, and every item proves itself."""
    report = verify(own)
    assert report.ok, report.lines()
    assert set(STREAMS) == set(report.streams)
    for found in report.streams.values():
        assert ([], found.stored) == (found.gaps, found.checked), report.lines()


def test_both_recordings_hold_the_same_items(tmp_path: Path) -> None:
    """Sequence by sequence and bit for bit, with the same times, from the same first one to the same last one."""
    with RunningRig(tmp_path, RIG.format(name="own-both", terminal=""), "--duration", "2") as rig:
        result = rig.finish()
    terminal, own = folders(rig.output)
    assert 0 == rig.process.returncode, (rig.said, result)
    for folder in (terminal, own):
        assert_whole(folder)
    with Recording(terminal) as theirs, Recording(own) as ours:
        for stream in STREAMS:
            assert len(ours[stream]) > 0
            for of in ("sequence", "time"):
                np.testing.assert_array_equal(np.asarray(getattr(theirs[stream], of)), getattr(ours[stream], of))
            np.testing.assert_array_equal(theirs[stream][:], ours[stream][:])
    told = result["pilot_recordings"]["p1"]
    assert str(own) == told["directory"]
    assert result["streams"] == told["streams"]
    assert f"p1 records into {own}" in rig.said
    assert [told["streams"]] == [
        event.fields["streams"] for event in read_journal(terminal / "session.jsonl").of_kind("recorded")
    ]


@pytest.mark.stress
def test_a_terminal_that_does_not_record_takes_messages_and_events_alone(tmp_path: Path) -> None:
    """The account is that of the Pilot's recording; the Terminal's folder has no stream, but what was said."""
    with RunningRig(tmp_path, RIG.format(name="own-only", terminal="record = false")) as rig:
        rig.wait_for("recording p1.cam")
        assert 0 == pipeline("mark", "here", "--rig", "own-only").returncode
        assert eventually(lambda: own_stored("own-only") > 20, 10), rig.said
        result = rig.stop()
    terminal, own = folders(rig.output)
    assert 0 == rig.process.returncode, (rig.said, result)
    assert_whole(own)
    assert result["pilot_recordings"]["p1"]["streams"] == result["streams"]
    assert all(row["stored"] == row["produced"] > 0 for row in result["streams"].values())
    assert [] == list(terminal.glob("*.h5"))
    assert ["here"] == [event.fields["text"] for event in read_journal(terminal / "session.jsonl").of_kind("mark")]


def test_a_pilot_records_on_when_its_terminal_is_killed(tmp_path: Path) -> None:
    """Everything of the Terminal dies and stays dead; the Pilot's recording goes on to its own end without a gap."""
    with ExitStack() as stack:
        for side in ("above", "pilot"):
            (tmp_path / side).mkdir()
        ports = "MSGPORT = {}\nDATAPORT = {}".format(*islice(free_ports(), 2))
        text = RIG.format(name="own-alone", terminal=ports)
        above = stack.enter_context(RunningRig(tmp_path / "above", text, "--role", "terminal"))
        rig = stack.enter_context(RunningRig(tmp_path / "pilot", text, "--role", "pilot"))
        above.wait_for("recording p1.cam")
        rig.wait_for("p1 records into")
        assert eventually(lambda: own_stored("own-alone") > 10, 10), rig.said
        family = psutil.Process(above.process.pid).children(recursive=True)
        for process in (above.process, *family):
            process.kill()
        psutil.wait_procs(family, timeout=20)
        before = own_stored("own-alone")
        assert eventually(lambda: own_stored("own-alone") > before + 60, 10), rig.said
        result = rig.stop()
    assert 0 == pipeline("clean").returncode
    (own,) = rig.output.glob("*_p1")
    assert_whole(own)
    told = result["pilot_recordings"]["p1"]
    assert (str(own), "") == (told["directory"], told["problem"])
    assert {name: found.stored for name, found in verify(own).streams.items()} == {
        name: row["stored"] for name, row in told["streams"].items()
    }


def test_a_killed_recorder_of_a_pilot_comes_back_and_goes_on(tmp_path: Path) -> None:
    """What its ring retains is read again: nothing is missing, and what was on the disk stays there."""
    with RunningRig(tmp_path, RIG.format(name="own-kill", terminal="record = false")) as rig:
        rig.wait_for("recording p1.cam")
        assert eventually(lambda: own_stored("own-kill") > 30, 10), rig.said
        rig.kill("p1.recorder")
        killed_ns = time.monotonic_ns()
        _, own = folders(rig.output)
        with Recording(own) as recording:
            assert recording["p1.cam"].time[-1:][0] > killed_ns - 0.7e9  # max_loss_s, and a period
        before = own_stored("own-kill")
        assert eventually(lambda: own_stored("own-kill") > before + 45, 10), rig.said
        result = rig.stop()
    assert 0 == rig.process.returncode, (rig.said, result)
    assert "p1.recorder died (killed by SIGKILL); it is started again" in rig.said
    assert ["recording", "resumed"] == kinds(own, "recording", "resumed")
    assert_whole(own)
    assert all(row["stored"] == row["produced"] for row in result["streams"].values()), result


def kinds(folder: Path, *kinds: str) -> list[str]:
    return [event.kind for event in read_journal(folder / "session.jsonl").of_kind(*kinds)]


@pytest.mark.stress
def test_the_death_of_a_sensor_or_of_the_pilot_costs_the_recording_no_item(tmp_path: Path) -> None:
    """The next writer goes on in the ring; the next Pilot finds its recorder at work, and ends it with the run."""
    with RunningRig(tmp_path, RIG.format(name="own-death", terminal="")) as rig:
        rig.wait_for("recording p1.cam")
        assert eventually(lambda: own_stored("own-death") > 10, 10), rig.said
        for victim in ("p1.cam", "p1"):
            rig.kill(victim)
            rig.wait_for(f"{victim} died")
            before = own_stored("own-death")
            assert eventually(lambda before=before: own_stored("own-death") > before + 15, 10), rig.said  # type: ignore[misc]
        rig.wait_for("p1 is back")
        result: dict[str, Any] = rig.stop()
    _, own = folders(rig.output)
    assert 0 == rig.process.returncode, (rig.said, result)
    assert_whole(own)
    assert result["pilot_recordings"]["p1"]["streams"]["p1.cam"]["stored"] == result["streams"]["p1.cam"]["produced"]
