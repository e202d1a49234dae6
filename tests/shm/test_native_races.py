"""The protocol under ThreadSanitizer: a writer and two readers as threads over one ring, in C (native/race.c)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.compiler import SOURCES, compile_native

ITEMS = 60_000
ENOUGH = 1000
# Without -fno-builtin the copies would be inlined and not be watched.
OPTIONS = ("-O1", "-g", "-w", "-fsanitize=thread", "-fno-builtin", "-pthread")
REPORT = "ThreadSanitizer: data race"

Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ended]:
    """Return a function that compiles native/race.c and runs it."""

    def run_(mode: str, *defines: str, items: int = ITEMS) -> Ended:
        program = tmp_path / "race"
        compile_native("gcc", *OPTIONS, *defines, SOURCES / "race.c", into=program)
        arguments = [program, mode, str(items)]
        done = ended(arguments)
        if "unexpected memory mapping" in done.stderr and shutil.which("setarch"):
            done = ended(["setarch", "-R", *arguments])  # a kernel that scatters addresses wider than it can watch
        return done

    return run_


def ended(arguments: list[Any]) -> Ended:
    """Run to the end, or to the first report."""
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1 exitcode=66"}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=100, check=False)


def counts(done: Ended) -> list[dict[str, int]]:
    """Return what each reader counted; fail if the program did, with what it said."""
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_race_while_the_writer_waits(run: Callable[..., Ended]) -> None:
    """Lossless readers that stay, come and go take every item, and no byte is used by two at once."""
    readers = counts(run("gated"))
    assert len(readers) == 2
    for said in readers:
        assert said["taken"] == said["gone"] > ENOUGH
    assert max(said["taken"] for said in readers) > ITEMS // 2


def test_no_race_while_readers_are_lapped(run: Callable[..., Ended]) -> None:
    """Readers of every policy, lapped, demoted and promoted again, race with the writer for payload bytes alone."""
    readers = counts(run("lapped"))
    assert len(readers) == 2
    assert all(said["taken"] > ENOUGH for said in readers)
    assert all(sum(said[name] for name in ("lapped", "torn", "skipped")) > 0 for said in readers)
    assert sum(said["demoted"] for said in readers) > 0


@pytest.mark.parametrize("plant", ["RELAXED_STORE", "RELAXED_LOAD", "PLAIN_STORE"])
def test_a_planted_race_is_found(run: Callable[..., Ended], plant: str) -> None:
    """One atomic less, and the same program is reported."""
    done = run("gated", f"-DPLANT_{plant}")
    assert done.returncode == 66
    assert REPORT in done.stderr
