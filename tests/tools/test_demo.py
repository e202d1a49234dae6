"""The demo as its user sees it: JSON or a table on stdout, the story on stderr."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PIPELINE = str(Path(sys.executable).with_name("pipeline"))
STREAMS = {"pilot1.cam0", "pilot1.host", "pilot2.probe"}


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo for two seconds in a folder of its own."""
    words = [PIPELINE, "demo", "--duration", "2", "--no-browser", "--output", "out", *options]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.stress  # the gate reads the demo's JSON itself
def test_json_is_all_of_stdout(tmp_path: Path) -> None:
    """One object: where the recording is, where the page was, and an account of every stream that comes out even."""
    result = demo(tmp_path, "--json")
    assert 0 == result.returncode, result.stderr
    account = json.loads(result.stdout)
    assert STREAMS == set(account["streams"])
    assert (tmp_path / account["recording"]).is_dir()
    assert account["view_url"].startswith("http://127.0.0.1:")
    for name, stream in account["streams"].items():
        assert stream["balanced"], (name, stream)
        assert stream["produced"] == stream["stored"] > 0, (name, stream)
        assert ({}, 0) == ({reason: n for reason, n in stream["dropped"].items() if n}, stream["in_flight"])


def test_people_get_a_table_and_the_recording_verifies(tmp_path: Path) -> None:
    """A row a stream, then the folder; what is in it passes `pipeline verify`."""
    result = demo(tmp_path)
    assert 0 == result.returncode, result.stderr
    heading, *rows = result.stdout.splitlines()
    assert ["stream", "produced", "stored", "dropped", "in", "flight", "balanced"] == heading.split()
    assert STREAMS == {row.split()[0] for row in rows if row.startswith("pilot")}
    assert "http://127.0.0.1:" in result.stderr
    found = re.search(r"^recording: (.+)$", result.stdout, re.MULTILINE)
    assert found is not None
    check = subprocess.run([PIPELINE, "verify", found[1]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 0 == check.returncode, check.stdout + check.stderr
