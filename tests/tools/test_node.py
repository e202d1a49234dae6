"""`pipeline node`, `ping`, `send` and `mark` ask a rig that runs, as a user does."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.rigs import PIPELINE, SMALL, RunningRig
from support.rigs import pipeline as run_process
from support.waiting import eventually

from pipeline.clock_prober import ClockState
from shm import list_segments
from tools import exits
from tools.boundary import run_command
from tools.cli import pipeline

pytest.importorskip("h5py")
NAME = f"node-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    """A rig of one Pilot with two sensors, recording; shared by the tests of this file."""
    with RunningRig(tmp_path_factory.mktemp("rig"), SMALL.format(name=NAME)) as running:
        running.wait_for("recording p1.cam")
        rings = {f"{NAME}/T/p1.{stream}" for stream in ("cam", "sig")}
        assert eventually(lambda: rings <= {segment.full_name for segment in list_segments(f"{NAME}/T/")})
        yield running


class Console:
    """Runs commands in this process; what they print is caught."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def run(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, stdout, stderr."""
        code = run_command(pipeline, [*words, "--rig", NAME], "pipeline")
        return code, *self._capfd.readouterr()

    def answer(self, *words: str, code: int = exits.OK) -> Any:
        """Return the JSON that a command prints."""
        found, out, err = self.run(*words, "--json")
        assert code == found, err
        (line,) = out.splitlines()
        return json.loads(line)

    def refusal(self, *words: str) -> str:
        """Return the line by which a command is refused."""
        code, out, err = self.run(*words)
        assert (exits.BAD_INPUT, "") == (code, out)
        (line,) = err.splitlines()
        return line


@pytest.fixture
def console(rig: RunningRig, capfd: pytest.CaptureFixture[str]) -> Console:
    return Console(capfd)


def test_a_list_is_the_tree_of_stations_with_their_nodes(console: Console, rig: RunningRig) -> None:
    """Every process of the rig stands under its station, alive, with the pid that the system knows."""
    rows = {row["address"]: row for row in console.answer("node", "list")}
    above = {address: row["station"] for address, row in rows.items()}
    expected = {"T": None, "_T": "T", "T.recorder": "T", "T.view": "T", "p1": "T", "p1.cam": "p1", "p1.sig": "p1"}
    assert expected == {address: above.get(address) for address in expected}
    assert {"ALIVE"} == {rows[address]["state"] for address in expected}
    children = [address for address in expected if address != "_T"]
    assert [rig.pid(address) for address in children] == [rows[address]["pid"] for address in children]
    assert rig.process.pid == rows["_T"]["pid"]
    assert ["T", "p1"] == [address for address, row in rows.items() if row["is_station"]]


def test_the_tree_is_drawn(console: Console) -> None:
    """One line an address, and its branch; what fits a terminal of 80 columns."""
    code, out, _ = console.run("node", "list")
    assert exits.OK == code
    assert f"rig {NAME}, station T at tcp://127.0.0.1:" in out
    lines = out.splitlines()
    assert [True] * 3 == [any(line.startswith(start) for line in lines) for start in ("T ", "└─ p1 ", "   ├─ p1.cam ")]
    assert max(map(len, lines)) <= 80


def test_commands_that_left_are_not_listed(console: Console) -> None:
    """Each command is a node while it runs; the stations remember it, and nobody cares."""
    console.answer("ping", "T", "-c", "1")
    assert [] == [row for row in console.answer("node", "list") if row["address"].startswith("cli-")]


def test_any_station_is_a_way_in(console: Console, capfd: pytest.CaptureFixture[str]) -> None:
    """Entered at the Pilot, the same tree is seen from its top."""
    pilot = console.answer("node", "info", "p1")
    assert exits.OK == run_command(pipeline, ["node", "list", "--at", f"{pilot['endpoint']}/p1", "--json"], "pipeline")
    assert "T" == json.loads(capfd.readouterr().out)[0]["address"]


def test_info_tells_what_a_station_counted_and_who_is_there(console: Console) -> None:
    """All counts of its hub, and its neighbours, the one above among them."""
    found = console.answer("node", "info", "p1")
    assert {"T": True, "p1.cam": False, "p1.sig": False} == {
        peer["id"]: peer["is_upstream"] for peer in found["peers"] if not peer["id"].startswith("cli-")
    }
    assert {"sent", "received", "malformed", "unroutable", "queued"} <= set(found["statistics"])
    _, out, _ = console.run("node", "info", "p1")
    assert "above     T" in out
    assert "refused peers  0" in out
    assert "cli-" not in out + console.run("node", "info", "T")[1]


def test_a_pilots_clock_stands_beside_the_terminals(console: Console) -> None:
    """On one machine the offset is zero within what is stated; of others than Pilots nothing is said."""

    def clock() -> Any:
        return {row["address"]: row["clock"] for row in console.answer("node", "list")}["p1"]

    assert eventually(lambda: clock() is not None, 20)
    found = {row["address"]: row["clock"] for row in console.answer("node", "list")}
    assert ["p1"] == [address for address, known in found.items() if known is not None]
    assert set(ClockState.__struct_fields__) == set(found["p1"])
    assert abs(found["p1"]["offset_ns"]) <= found["p1"]["uncertainty_ns"]
    assert found["p1"]["age_s"] < 15
    _, out, _ = console.run("node", "info", "p1")
    said = {line.split("  ")[0]: line for line in out.splitlines()}
    assert ["machine", socket.gethostname()] == said["machine"].split()
    assert re.fullmatch(r"clock +[-+]\d+\.\d{3} ± \d+\.\d{3} ms beside the Terminal's, since boot", said["clock"])
    assert re.fullmatch(r"drift +[-+]\d+\.\d ± \d+\.\d ppm", said["drift"])
    assert "0 steps" in said["asked"]
    assert "ppm" not in console.run("node", "info", "p1.cam")[1]


def test_info_tells_what_a_node_counted_that_is_no_station(console: Console) -> None:
    """A sensor's node answers for itself; its count goes on with what it is asked."""
    first, second = (console.answer("node", "info", "p1.cam") for _ in range(2))
    assert (False, []) == (first["is_station"], first["peers"])
    assert set(console.answer("node", "info", "p1")["statistics"]) == set(first["statistics"])
    assert 0 < first["statistics"]["delivered"] < second["statistics"]["delivered"]
    _, out, _ = console.run("node", "info", "p1.cam")
    assert "station  p1" in out
    assert "dropped busy   0" in out


def test_an_unknown_address_is_answered_with_the_one_that_was_meant(console: Console) -> None:
    """Whatever is asked; one line, exit code 2."""
    for words in (("node", "info", "p1.camm"), ("ping", "p1.camm"), ("send", "p1.camm", "PING")):
        assert "'p1.camm'; did you mean 'p1.cam'?" in console.refusal(*words)


def test_ping_times_every_address(console: Console) -> None:
    """As many answers as pings, times in order of size; without an address everybody is pinged."""
    (found,) = console.answer("ping", "p1.cam", "-c", "3", "-i", "0.01")
    assert (3, 3, 0, 3) == (found["sent"], found["answered"], found["lost"], len(found["times_s"]))
    assert 0 < found["min_s"] <= found["median_s"] <= found["max_s"] < 2
    everybody = {row["address"] for row in console.answer("ping", "-c", "1")}
    assert {"T", "_T", "T.recorder", "T.view", "p1", "p1.cam", "p1.sig"} <= everybody


def test_answers_that_take_longer_than_the_interval_delay_the_next_ping(console: Console) -> None:
    """Nothing is caught up with: they follow one another as fast as they are answered."""
    (found,) = console.answer("ping", "p1.cam", "-c", "20", "-i", "0.001")
    assert 20 == found["answered"]


def test_ctrl_c_ends_an_endless_ping_with_its_table(rig: RunningRig) -> None:
    """What was measured until then; exit code 0."""
    command = [PIPELINE, "ping", "T", "-c", "0", "-i", "0.01", "--rig", NAME]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "ping 3" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert exits.OK == process.returncode, err
    assert out.splitlines()[-1].startswith("T ")
    assert "Traceback" not in err


def test_send_prints_the_answer_and_how_it_ended(console: Console, rig: RunningRig) -> None:
    """The answer on stdout, the end on stderr."""
    code, out, err = console.run("send", "p1", "PING")
    assert (exits.OK, {"id": "p1", "pid": rig.pid("p1"), "state": "running"}) == (code, json.loads(out))
    assert err.startswith("done after ")
    found = console.answer("send", "p1", "STATE")
    assert ("done", "running") == (found["state"], found["answer"]["state"])


def test_a_message_that_fails_says_why(console: Console) -> None:
    """The recipient's own words; exit code 1."""
    code, out, err = console.run("send", "T", "PIGN", "3")
    assert (exits.NOT_DONE, "") == (code, out)
    assert err.startswith("failed: ")
    assert "no listen for 'PIGN'" in err
    assert "failed" == console.answer("send", "T", "PIGN", code=exits.NOT_DONE)["state"]


def test_an_unconfirmed_message_ends_as_sent(console: Console) -> None:
    """Nobody knows more; exit code 0."""
    assert "sent" == console.answer("send", "p1", "PING", "--no-confirm")["state"]


def test_a_stopped_station_is_late_then_lost_and_alive_again(console: Console, rig: RunningRig) -> None:
    """Its silence is told; pings to it are lost (exit code 1); nothing has to be restarted."""
    state: dict[str, Any] = {}

    def is_now(wanted: str) -> bool:
        rows = {row["address"]: row for row in console.answer("node", "list")}
        state.update(rows["p1"])
        return wanted == state["state"]

    pid = rig.pid("p1")
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert eventually(lambda: is_now("LOST"), 6), state
        assert 2.5 <= state["silent_s"] <= time.monotonic() - began + 1.0
        (found,) = console.answer("ping", "p1", "-c", "1", code=exits.NOT_DONE)
        assert (1, 0, 1) == (found["sent"], found["answered"], found["lost"])
        assert "p1 is LOST" in console.refusal("send", "p1", "PING")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert eventually(lambda: is_now("ALIVE"), 3), state
    assert pid == state["pid"]


def test_a_message_without_an_answer_is_expired_or_unknown(console: Console, rig: RunningRig) -> None:
    """A sensor that is stopped has not run it, and will not; a Terminal that is busy with it may: both told in time."""
    pids = [rig.pid("p1"), rig.pid("p1.cam")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        busy = console.answer("send", "T", "INIT", "--timeout", "0.5", code=exits.NOT_DONE)  # it asks p1
        stopped = console.answer("send", "p1.cam", "PING", "--timeout", "0.5", code=exits.NOT_DONE)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert ("unknown", "expired") == (busy["state"], stopped["state"]), (busy, stopped)
    assert "it may have run" in busy["error"]
    assert "never left" in stopped["error"]
    assert 0.4 < busy["seconds"] < 1.5


def test_the_installed_command_finds_the_rig(rig: RunningRig) -> None:
    """As a process, with nothing but the rig's name; a wrong name names this one."""
    found = run_process("ping", "T", "-c", "1", "--rig", NAME)
    assert exits.OK == found.returncode, found.stderr
    wrong = run_process("node", "list", "--rig", NAME[:-1])
    assert (exits.BAD_INPUT, "") == (wrong.returncode, wrong.stdout)
    assert f"did you mean '{NAME}'?" in wrong.stderr


def test_a_value_comes_from_a_file(console: Console, tmp_path: Path) -> None:
    """One that is not there is named."""
    assert str(tmp_path / "none.json") in console.refusal("send", "T", "PING", f"@{tmp_path / 'none.json'}")
    (tmp_path / "value.json").write_text('{"a": [1, 2]}')
    assert "done" == console.answer("send", "T", "PING", f"@{tmp_path / 'value.json'}")["state"]


def test_a_mark_is_in_the_journal_when_the_command_returns(
    console: Console, rig: RunningRig, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whichever station it enters by; when, where and who are printed."""
    code, out, _ = console.run("mark", "lights off", "--by", "anna")
    assert (exits.OK, True) == (code, out.rstrip().endswith(f"in {rig.recording}")), out
    pilot = console.answer("node", "info", "p1")
    assert exits.OK == run_command(pipeline, ["mark", "on", "--at", f"{pilot['endpoint']}/p1", "--json"], "pipeline")
    told = json.loads(capfd.readouterr().out)
    first, second = [event for event in rig.events() if event["kind"] == "mark"]
    assert ("lights off", "anna") == (first["text"], first["by"])
    assert told.items() <= {**second, "recording": str(rig.recording)}.items()
    assert "@" in second["by"]


def test_nothing_is_marked_where_nothing_is_recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A run that waits for a Pilot of another machine says so; exit code 1."""
    name = f"mark-{uuid.uuid4().hex[:8]}"
    with RunningRig(tmp_path, SMALL.format(name=name), "--role", "terminal") as rig:
        rig.wait_for("page: ")
        assert exits.NOT_DONE == run_command(pipeline, ["mark", "too soon", "--rig", name], "pipeline")
        out, err = capfd.readouterr()
        assert ("", 1) == (out, err.count("\n"))
        assert "nothing is being recorded, the run is waiting" in err
