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

from shm import Counters, RingReader, RingWriter

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


@pytest.mark.parametrize(
    ("counts", "code", "words"),
    [
        ({"accounted": 2, "stored": 2, "end": 2}, 0, "3 produced = 2 stored + 0 dropped + 0 pending + 1 in flight"),
        (
            {"accounted": 3, "stored": 2, "missing": 1, "end": 3, "ended": 1},
            0,
            "3 produced = 2 stored + 1 dropped + 0 pending + 0 in flight",
        ),
        (
            {"accounted": 3, "stored": 1, "pending": 2, "end": 3, "ended": 1},
            4,
            "3 produced = 1 stored + 0 dropped + 2 pending + 0 in flight",
        ),
        ({"accounted": 3, "stored": 1, "end": 3}, 3, "in flight: DOES NOT BALANCE"),
        ({"accounted": 2, "stored": 2, "end": 2, "ended": 1}, 3, "1 in flight: DOES NOT BALANCE"),
    ],
)
def test_info_closes_the_ledger_of_a_recorded_stream(
    ring: RingWriter, counts: dict[str, int], code: int, words: str
) -> None:
    """Out of counters in shared memory; the exit code says whether it comes out even, and whether something waits."""
    birth = ring.birth & (2**63 - 1)
    with Counters.create(f"{RIG}/T.recorder") as page:
        for name, value in {"missing": 0, "pending": 0, "ended": 0, **counts, "birth": birth}.items():
            page.counter(f"live.{name}").set(value)
        result = subprocess.run([PIPELINE, "stream", "info", ring.name], capture_output=True, text=True, check=False)
    assert code == result.returncode, result.stderr
    assert words in result.stdout
