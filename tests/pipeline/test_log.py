"""A process's log is one file of JSON lines that a flood cannot fill."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.full_disk import disk_full_at

from pipeline.log import PER_SECOND, LogOptions, RateLimit, start_log, stop_log


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    yield
    stop_log()


def test_a_line_is_json_with_time_level_process_and_error(tmp_path: Path) -> None:
    """What went wrong is in the line, traceback and all."""
    path = start_log("pilot1", LogOptions(str(tmp_path / "logs")))
    try:
        (0,).index(1)
    except ValueError:
        logging.getLogger("a").exception("cannot send %s", "START")
    line = json.loads(path.read_text())

    assert ("ERROR", "pilot1", "a", "cannot send START") == tuple(
        line[k] for k in ("level", "process", "logger", "message")
    )
    assert line["time"].endswith("+00:00")
    assert "ValueError: tuple.index(x): x not in tuple" in line["error"]


def test_a_flood_is_cut_and_counted() -> None:
    """Lines of one kind beyond the limit are dropped; the first of the next second tells how many."""
    now = [0.0]
    limit = RateLimit(clock=lambda: now[0])
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "malformed frame from %s", ("x",), None)

    assert PER_SECOND == sum(limit.filter(record) for _ in range(100))
    now[0] = 1.0
    assert limit.filter(record)
    assert 100 - PER_SECOND == record.__dict__["suppressed"]


def test_kinds_are_limited_apart() -> None:
    """A flood of one message does not hide another."""
    limit = RateLimit(clock=lambda: 0.0)
    flood = logging.LogRecord("a", logging.WARNING, "f", 1, "flood", None, None)
    other = logging.LogRecord("a", logging.WARNING, "f", 1, "fire", None, None)
    for _ in range(100):
        limit.filter(flood)

    assert limit.filter(other)


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever logs is not disturbed, stderr stays clean, and lines are written again when there is room."""
    path = start_log("p", LogOptions(str(tmp_path)))
    with disk_full_at(10):
        for number in range(3):
            logging.getLogger("a").warning("lost %d", number)
    logging.getLogger("b").warning("told")
    stop_log()

    assert "told" in path.read_text()
    assert "" == capsys.readouterr().err


def test_old_files_are_rotated_away(tmp_path: Path) -> None:
    """Size and count bound what a process may leave on the disk."""
    path = start_log("T", LogOptions(str(tmp_path), size_bytes=1000, count=2))
    for number in range(100):
        logging.getLogger(f"kind{number}").warning("a message of some length, number %d", number)

    assert ["T.jsonl", "T.jsonl.1", "T.jsonl.2"] == sorted(file.name for file in path.parent.iterdir())
