"""`pipeline plan` as a process: a table, JSON, exit codes, and numbers that a running rig confirms."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from support.rigs import PIPELINE, SMALL, RunningRig, pipeline
from support.waiting import eventually

from pipeline.backfill_name import is_backfill
from shm import list_segments

HUGE = """
[rig]
name = "huge"
[pilots.p.streams.cam]
source = "synthetic:camera"
shape = [4000, 4000]
rate = 1000
seconds = 3600
"""


def rig_file(folder: Path, text: str) -> str:
    (folder / "rig.toml").write_text(text)
    return str(folder / "rig.toml")


def test_a_rig_that_fits_is_a_table_and_exit_code_0(tmp_path: Path) -> None:
    """A row a stream, sums for memory, network and disk; nothing is left in the folder."""
    path = rig_file(tmp_path, SMALL.format(name="plan"))
    done = pipeline("plan", path, "--disk-seconds", "0.2", "--output", str(tmp_path / "out"))
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert ["stream", "p1.cam", "p1.sig"] == [line.split()[0] for line in lines[:3]]
    for word in ("shared memory: ", "network: ", "disk: "):
        assert any(line.startswith(word) for line in lines), done.stdout
    assert ["rig.toml"] == [entry.name for entry in tmp_path.iterdir()]


def test_a_rig_that_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    """Exit code 2, the reason on stderr; the table all the same."""
    done = pipeline("plan", rig_file(tmp_path, HUGE), "--disk-seconds", "0")
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert line.startswith("pipeline: ")
    assert "rig.toml: needs 115" in line
    assert "MB of /dev/shm" in line
    assert "refused: needs 115" in done.stdout


def test_json_is_one_object_whatever_comes_of_it(tmp_path: Path) -> None:
    """Streams, sums, the machine and the findings."""
    done = pipeline("plan", rig_file(tmp_path, HUGE), "--disk-seconds", "0", "--json")
    assert 2 == done.returncode
    told = json.loads(done.stdout)
    assert {
        "rig",
        "role",
        "streams",
        "shm_bytes",
        "backfill_bytes",
        "wire_mb_s",
        "disk_mb_s",
        "machine",
        "findings",
    } <= set(told)
    assert None is told["machine"]["disk_mb_s"]
    assert "refused" == told["findings"][0]["level"]


def test_a_bad_rig_file_is_one_line(tmp_path: Path) -> None:
    """As for a run."""
    done = pipeline("plan", rig_file(tmp_path, SMALL.format(name="plan") + "rte = 3\n"))
    assert (2, "") == (done.returncode, done.stdout)
    assert "no option 'rte'; did you mean 'rate'" in done.stderr


def test_a_running_rig_takes_what_was_planned(tmp_path: Path) -> None:
    """Every ring and page of counters in /dev/shm, to the byte."""
    text = SMALL.format(name="exact") + '\n[pilots.p2.streams.host]\nsource = "host"\n'
    with RunningRig(tmp_path, text) as rig:
        rig.wait_for("recording ")
        expected = json.loads(pipeline("plan", str(tmp_path / "rig.toml"), "--disk-seconds", "0", "--json").stdout)

        def taken() -> int:
            mine = [info for info in list_segments() if info.full_name.startswith("exact/")]
            return sum(info.bytes for info in mine if not is_backfill(info.full_name))

        assert eventually(lambda: taken() == expected["shm_bytes"], 10), (taken(), expected["shm_bytes"])
        rig.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_end_while_the_disk_is_measured_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    """The file never had a name; its space is free again."""
    command = [PIPELINE, "plan", rig_file(tmp_path, SMALL.format(name="plan")), "--output", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--disk-seconds", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:

        def writes() -> bool:
            with suppress(FileNotFoundError):  # closed while we look
                return any(str(tmp_path) in str(fd.readlink()) for fd in Path(f"/proc/{process.pid}/fd").iterdir())
            return False

        try:
            assert eventually(writes, 30)
            process.send_signal(number)
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert (130 if number is signal.SIGINT else -9) == process.returncode
    assert ["rig.toml"] == [entry.name for entry in tmp_path.iterdir()]
