"""A rig that stands by acquires and records nothing; an order makes a recording that begins before it."""

from __future__ import annotations

import json
import re
import time
import uuid
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.rigs import SMALL, RunningRig
from support.waiting import eventually

from shm import RingObserver, list_segments
from stations.free_ports import free_ports
from stations.recording import Recording, verify
from tools import exits
from tools.boundary import run_command
from tools.cli import pipeline

pytest.importorskip("h5py")

DEEP = SMALL.replace("rate = ", "seconds = 20\nrate = ")
STREAMS = ("p1.cam", "p1.sig")
PERIOD_S = {"p1.cam": 1 / 30, "p1.sig": 1e-3, "p1.file": 0.01}
FILE = """
from stations.sources import SourceSpec

class File:
    spec = SourceSpec(shape=(1,), dtype="<i4", rate=100.0, can_wait=True, paced=True, finite=True)

    def open(self):
        self.next = 0

    def read_into(self, out):
        count = min(len(out), 100 - self.next)
        out[:count, 0] = range(self.next, self.next + count)
        self.next += count
        return count

    def close(self):
        pass
"""


def named(what: str) -> str:
    return f"standby-{what}-{uuid.uuid4().hex[:8]}"


def standing_by(folder: Path, text: str, name: str, *options: str) -> RunningRig:
    """Start a rig; return it once it stands by."""
    folder.mkdir(exist_ok=True)
    rig = RunningRig(folder, text, "--standby", *options)
    rig.wait_for(f"standing by, nothing is recorded; begin with: pipeline record --rig {name}\n")
    return rig


class Shell:
    """Runs commands in this process: they are quick, and their start is tested elsewhere."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit code, and what went to stdout and stderr."""
        self._capfd.readouterr()
        code = run_command(pipeline, list(arguments), "pipeline")
        return code, *self._capfd.readouterr()

    def order(self, name: str, *options: str) -> tuple[dict[str, Any], str]:
        """Order a recording; return the answer, and what was told on stderr."""
        where = () if "--at" in options else ("--rig", name)
        code, out, told = self.run("record", *where, "--json", *options)
        assert exits.OK == code, told
        return json.loads(out), told


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capfd)


def begins_s(answer: dict[str, Any], stream: str) -> float:
    """Return how many seconds before the order the first recorded item is."""
    with Recording(answer["recording"]) as recording:
        return float(answer["order"]["monotonic_ns"] - recording[stream].time[0]) / 1e9


def check_whole(rig: RunningRig, result: dict[str, Any]) -> None:
    """Balanced, and every file as it should be, down to each item's own check."""
    assert exits.OK == rig.process.returncode, rig.said
    for name, account in result["streams"].items():
        assert account["balanced"], (name, account)
        assert account["produced"] == account["stored"] > 0, (name, account)
    report = verify(rig.recording)
    assert report.ok, report.lines()


def whole_but_for_a_gap(rig: RunningRig) -> int:
    """Return the sequence before which time is missing in a recording that has every sample from the first on."""
    with Recording(rig.recording) as recording:
        sequences, times = recording["p1.sig"].sequence[:], recording["p1.sig"].time[:]
    assert np.array_equal(np.arange(len(sequences)), sequences)
    steps_s = np.diff(times) / 1e9
    (gap,) = np.flatnonzero(steps_s > 0.05)
    assert np.allclose(np.delete(steps_s, gap), 1e-3, atol=1e-3), "no block is stretched over it"
    return int(sequences[gap + 1])


def test_a_recording_begins_before_its_order_with_what_the_rings_retained(tmp_path: Path, shell: Shell) -> None:
    """Nothing is forwarded or recorded before; then every item since two seconds before is there, bit for bit."""
    name = named("from")
    with standing_by(tmp_path, DEEP.format(name=name), name) as rig:
        time.sleep(3)  # of standing by
        assert [] == list_segments(f"{name}/T/p1"), "nothing is forwarded"
        assert not [path for path in rig.output.iterdir() if path.name != "logs"], "nothing is recorded"
        answer, told = shell.order(name, "--from", "-2s", "--duration", "1")
        assert "" == told
        result = rig.finish()
    assert (str(rig.recording), 2.0, 1.0) == (answer["recording"], answer["order"]["from_s"], 1.0)
    check_whole(rig, result)
    (start,) = [event for event in rig.events() if event["kind"] == "start"]
    for stream in STREAMS:
        period = PERIOD_S[stream]
        assert 2 - period <= begins_s(answer, stream) <= 2, (stream, answer)
        assert start["began"][stream]["before_s"] == pytest.approx(begins_s(answer, stream), abs=1e-6)
        with Recording(rig.recording) as recording:
            times, sequences = recording[stream].time[:], recording[stream].sequence[:]
        assert np.array_equal(np.arange(sequences[0], sequences[0] + len(sequences)), sequences)
        assert sequences[0] > 0.5 / period, "what was acquired before is none of its business"
        assert times[-1] >= answer["order"]["monotonic_ns"] + 0.9e9


def test_without_from_a_recording_begins_at_its_order_and_a_file_at_its_beginning(tmp_path: Path, shell: Shell) -> None:
    """However long the recorder takes to open its files; a source that ends, or can wait, has waited."""
    name = named("now")
    (tmp_path / "file.py").write_text(FILE)
    text = SMALL.format(name=name) + '[pilots.p1.streams.file]\nsource = "python:file:File"\n'
    with standing_by(tmp_path, text, name) as rig:
        with RingObserver.attach(f"{name}/p1.cam") as cam, RingObserver.attach(f"{name}/p1.file") as file:
            assert eventually(lambda: cam.published > 10, 10)
            assert 0 == file.published
        answer, told = shell.order(name)
        assert "" == told
        result = rig.finish()
    check_whole(rig, result)
    for stream in STREAMS:
        assert -PERIOD_S[stream] <= begins_s(answer, stream) <= 0, (stream, answer)
    with Recording(rig.recording) as recording:
        assert list(range(100)) == recording["p1.file"][:][:, 0].tolist()


def test_who_dies_while_a_rig_stands_by_is_back_before_the_order(tmp_path: Path, shell: Shell) -> None:
    """A sensor's ring keeps what it had, a Pilot is armed again; no block is stretched over the time between."""
    name = named("kill")
    with standing_by(tmp_path, DEEP.format(name=name), name) as rig, RingObserver.attach(f"{name}/p1.sig") as ring:
        assert eventually(lambda: ring.published > 500, 10)
        rig.kill("p1.sig")
        died_at = ring.published
        assert eventually(lambda: ring.epoch == 2 and ring.published > died_at + 100, 10)
        rig.kill("p1")
        rig.wait_for("p1 is back")
        _, told = shell.order(name, "--from", "-30s", "--duration", "1")
        assert 2 == told.count("it acquired nothing earlier"), told
        result = rig.finish()
    check_whole(rig, result)
    assert ["p1.sig", "p1"] == [event["name"] for event in rig.events() if event["kind"] == "death"]
    assert [] == verify(rig.recording).deaths, "nobody died while it was recorded"
    assert died_at <= whole_but_for_a_gap(rig) <= died_at + 100


def test_what_cannot_be_ordered_is_refused_in_a_line_and_what_is_not_there_is_told(
    tmp_path: Path, shell: Shell
) -> None:
    """No rig, none that stands by; rings that hold less than was asked for; a run that records already."""
    name = named("not")
    assert exits.BAD_INPUT == shell.run("record", "--rig", name)[0]
    with standing_by(tmp_path, SMALL.format(name=name), name) as rig:
        unmarked = "not marked: nothing is being recorded, the rig stands by; pipeline record begins\n"
        assert (exits.NOT_DONE, "", unmarked) == shell.run("mark", "too soon", "--rig", name)
        time.sleep(1)  # so that something is there
        answer, told = shell.order(name, "--from", "-1h")
        for line, stream in zip(told.splitlines(), STREAMS, strict=True):
            began = answer["began"][stream]
            assert line == f"{stream} begins {began['before_s']:.1f} s before, not 3600 s before: {began['why']}"
            assert re.fullmatch(r"it acquired nothing earlier|its ring holds \d\.\d s", began["why"])
        again = f"not begun: the rig records already, into {rig.recording}\n"
        assert (exits.NOT_DONE, "", again) == shell.run("record", "--rig", name)
        assert exits.OK == shell.run("mark", "now", "--rig", name)[0]
        check_whole(rig, rig.stop())


@pytest.mark.stress
def test_a_rig_that_waits_for_its_pilot_says_so_to_who_orders(tmp_path: Path, shell: Shell) -> None:
    """Then it is stopped: there was no recording, and all is well."""
    name = named("wait")
    with RunningRig(tmp_path, SMALL.format(name=name), "--standby", "--role", "terminal") as rig:
        rig.wait_for("page: ")
        early = "not begun: the rig is still coming up, it waits for p1: it has not come up\n"
        assert eventually(lambda: (exits.NOT_DONE, "", early) == shell.run("record", "--rig", name), 10)
        assert None is rig.stop()["recording"]
        assert exits.OK == rig.process.returncode


@pytest.mark.stress
def test_a_pilot_of_another_machine_rests_with_its_terminal_and_stands_by_for_the_next(
    tmp_path: Path, shell: Shell
) -> None:
    """What its rings kept of the time with the first comes into the recording of the second, if that is ordered."""
    name = named("two")
    msg_port, data_port = islice(free_ports(), 2)
    ports = f"[terminal]\nMSGPORT = {msg_port}\nDATAPORT = {data_port}\n"
    text, role = ports + DEEP.format(name=name), ("--role", "terminal")
    (tmp_path / "pilot").mkdir()
    with RunningRig(tmp_path / "pilot", text, "--role", "pilot"):
        with standing_by(tmp_path / "first", text, name, *role) as first:
            ring = RingObserver.attach(f"{name}/p1.sig")
            assert eventually(lambda: ring.published > 300, 10)
            first.stop()
        rested_at = ring.published
        with standing_by(tmp_path / "second", text, name, *role) as second:
            assert eventually(lambda: ring.published > rested_at + 300, 10)
            ring.close()
            shell.order(name, "--at", f"tcp://127.0.0.1:{msg_port}/T", "--from", "-1m", "--duration", "0.5")
            result = second.finish()
    check_whole(second, result)
    assert rested_at == whole_but_for_a_gap(second)


def test_a_rig_that_is_stopped_while_it_stands_by_leaves_nothing(tmp_path: Path) -> None:
    """No folder, no ring, and nothing to account for."""
    name = named("stop")
    with standing_by(tmp_path, SMALL.format(name=name), name) as rig:
        result = rig.stop()
        assert (exits.OK, None, {}) == (rig.process.returncode, result["recording"], result["streams"])
        assert ["logs"] == [path.name for path in rig.output.iterdir()]
    assert [] == list_segments(f"{name}/")
