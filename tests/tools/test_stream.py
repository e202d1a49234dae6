"""`pipeline stream` and `pipeline clean` look at real rings of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shm import RingReader, RingWriter

RIG = f"stream-{uuid.uuid4().hex[:8]}"
PIPELINE = str(Path(sys.executable).with_name("pipeline"))


def answer(*words: str) -> Any:
    """Run a command with --json and return what it prints."""
    result = subprocess.run([PIPELINE, *words, "--json"], capture_output=True, text=True, check=False, timeout=60)
    assert 0 == result.returncode, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def ring() -> Iterator[RingWriter]:
    """A ring that holds three items of eight samples."""
    with RingWriter.create(f"{RIG}/live", shape=(8,), dtype="<f4", slots=512) as writer:
        for _ in range(3):
            with writer.claim() as item:
                item[:] = 0
        yield writer


def test_list_shows_a_ring_and_its_writer(ring: RingWriter) -> None:
    """Name, shape, dtype, slots, how much was published, and that its writer lives."""
    (row,) = answer("stream", "list", ring.name)
    assert (ring.name, [8], 3, True) == (row["stream"], row["shape"], row["published"], row["alive"])
    assert ring.slots == row["slots"]


def test_looking_registers_nowhere(ring: RingWriter) -> None:
    """An observer never enters the reader table, so no writer waits for it; a reader is shown there."""
    assert [] == answer("stream", "info", ring.name)["readers"]
    with RingReader.attach(ring.name, policy="latest", reader="me"):
        (reader,) = answer("stream", "info", ring.name)["readers"]
        assert "latest" in str(reader)


def test_hz_counts_what_is_published(ring: RingWriter) -> None:
    """Nothing is written meanwhile: zero items, and the time it took is told."""
    found = answer("stream", "hz", ring.name, "--window", "0.05")
    assert (0, 0.0) == (found["items"], found["hz"])
    assert found["seconds"] >= 0.05


def test_a_ring_that_is_not_there_is_one_line() -> None:
    """The name is in it, and the exit code is 2."""
    result = subprocess.run([PIPELINE, "stream", "info", "nobody/x"], capture_output=True, text=True, check=False)
    assert 2 == result.returncode
    (line,) = result.stderr.splitlines()
    assert "nobody/x" in line


def test_clean_leaves_what_lives_and_removes_what_died(ring: RingWriter) -> None:
    """A ring whose process was killed goes, one whose writer lives stays and is told why."""
    name = f"{RIG}/dead"
    program = f"""if True:
        import os, signal
        from shm import RingWriter
        RingWriter.create({name!r}, shape=(8,), dtype="u1", slots=512)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", program], check=False)
    dry = answer("clean", "--rig", RIG, "--dry-run")
    assert ([name], [ring.name]) == (dry["removed"], [entry["name"] for entry in dry["kept"]])
    assert [] != answer("stream", "list", name)
    assert [name] == answer("clean", "--rig", RIG)["removed"]
    assert [] == answer("stream", "list", name)
