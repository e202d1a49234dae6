"""`pipeline-top` as people start it, over real rings."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shm import Counters, RingReader, RingWriter

TOP = [sys.executable, "-m", "tools.top.cli"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[str]:
    """Write two rings until the test is over: a camera that is read, and one whose writer left without a word."""
    rig = f"top{os.getpid()}"
    over = threading.Event()

    def write(camera: RingWriter) -> None:
        while not over.wait(1 / 60):
            camera.write(np.zeros((48, 64), np.uint8))

    with (
        RingWriter.create(f"{rig}/pilot1.cam0", shape=(48, 64), dtype="u1", slots=64, meta={"rate": 50.0}) as camera,
        RingReader.attach(f"{rig}/pilot1.cam0", policy="latest", reader="watcher"),
        Counters.create(f"{rig}/pilot1") as counters,
    ):
        counters.counter("pilot1.cam0.dropped.link").add(7)
        writer = threading.Thread(target=write, args=(camera,))
        writer.start()
        yield rig
        over.set()
        writer.join()


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pipeline-top to its end."""
    return subprocess.run([*TOP, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_once_tells_rates_losses_and_readers_of_a_running_ring(rig: str) -> None:
    """Two samples half a second apart: the rate is measured, the loss that a Pilot counted is told."""
    done = top("--once", "--json", "--filter", f"{rig}/*")

    assert (0, "") == (done.returncode, done.stderr)
    [stream] = json.loads(done.stdout)["streams"]
    assert (f"{rig}/pilot1.cam0", "run", "48x64", "uint8") == tuple(
        stream[key] for key in ("stream", "state", "shape", "dtype")
    )
    assert 20 < stream["hz"] < 80
    assert ({"link": 7}, 50.0, os.getpid()) == (stream["drops"], stream["target"], stream["pid"])
    assert 0 <= stream["age_s"] < 1
    assert ["watcher"] == [reader["name"] for reader in stream["readers"]]


def test_table_and_csv_are_for_pipes(rig: str) -> None:
    """Without a terminal the table is plain text; CSV has its heading once."""
    plain = top("--once", "--ascii", "--readers", "--filter", rig)
    table = plain.stdout
    assert table.isascii()
    assert re.search(rf"^{rig}/pilot1.cam0 +run +48x64 uint8", table, re.MULTILINE)
    assert "watcher  latest" in table

    rows = top("--csv", "-n", "2", "-i", "0.1", "--filter", rig).stdout.splitlines()
    assert 3 == len(rows)
    assert rows[0].startswith("time_ns,stream,state")


def test_nothing_found_and_wrong_words_have_their_exit_codes() -> None:
    """1: no such stream; 2: no such column."""
    assert 1 == top("--once", "--filter", "no-such-rig/*").returncode
    assert 2 == top("--once", "--sort", "colour").returncode


def test_dead_writer_is_unhealthy(tmp_path: Path) -> None:
    """A process killed while it wrote leaves a ring that says so, and exit code 3."""
    name = f"topdead{os.getpid()}/cam0"
    script = f"""
import os, signal
from shm import RingWriter
ring = RingWriter.create({name!r}, shape=(8,), dtype="f4", slots=16)
ring.write([0.0] * 8)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=30, check=False)
    try:
        done = top("--once", "--filter", name)
    finally:
        RingWriter.create(name, shape=(8,), dtype="f4", slots=16).close()

    assert 3 == done.returncode
    assert re.search(rf"^{name} +dead +8 float32", done.stdout, re.MULTILINE)


def test_nothing_that_could_hang_is_imported() -> None:
    """Looking needs neither zmq nor a station, and a plain table no Textual."""
    script = "import sys, tools.top.cli, tools.top.collect; print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert {"zmq", "pipeline", "stations", "textual", "rich", "tornado"}.isdisjoint(modules.stdout.split())


def test_live_table_is_drawn_in_a_terminal_and_leaves_on_q(rig: str) -> None:
    """In a real pseudo-terminal: the stream appears with its state, q ends it with 0."""
    pytest.importorskip("textual", reason="the live table needs textual")
    pyte = pytest.importorskip("pyte", reason="reading the terminal needs pyte")
    screen = pyte.Screen(150, 30)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "30"}
    live = subprocess.Popen(
        [*TOP, "--filter", rig, "-i", "0.2"], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        deadline = time.monotonic() + 20
        wanted = (rf"{rig}/pilot1\.cam0 +run ", "q quit")
        while not all(re.search(words, "\n".join(screen.display)) for words in wanted):
            assert time.monotonic() < deadline, "\n".join(screen.display)
            if select.select([ours], [], [], 0.2)[0]:
                stream.feed(os.read(ours, 65536))
        os.write(ours, b"q")
        while live.poll() is None:
            assert time.monotonic() < deadline
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
        assert 0 == live.wait(5)
    finally:
        if live.poll() is None:
            live.kill()
            live.wait()
        os.close(ours)
