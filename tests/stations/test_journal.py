"""The journal: several writers, torn and damaged lines."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.full_disk import disk_full_at

from stations.recording import Journal, JournalError, read_journal

APPEND = """
import sys
from pathlib import Path
from stations.recording import Journal
with Journal(Path(sys.argv[1])) as journal:
    for number in range(200):
        journal.append("count", who=sys.argv[2], number=number, padding="x" * (number % 97))
"""


def test_events_come_back_in_order_with_both_clocks(tmp_path: Path) -> None:
    """What is appended is read, stamped with wall and monotonic time."""
    with Journal(tmp_path / "session.jsonl") as journal:
        journal.append("gap", stream="pilot1.cam0", birth="00ff", first=3, count=2, reason="link")
        journal.append("mark", text='Käse \n "x"')

    reading = read_journal(tmp_path / "session.jsonl")

    assert () == reading.problems
    assert ["gap", "mark"] == [event.kind for event in reading.events]
    assert {"stream": "pilot1.cam0", "birth": "00ff", "first": 3, "count": 2, "reason": "link"} == dict(
        reading.events[0].fields
    )
    assert 'Käse \n "x"' == reading.events[1].fields["text"]
    assert reading.events[0].monotonic_ns <= reading.events[1].monotonic_ns


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    """Three processes append at once and every line is whole, each writer's in order."""
    path = tmp_path / "session.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), who]) for who in "abc"]
    assert [0, 0, 0] == [writer.wait(60) for writer in writers]

    reading = read_journal(path)

    assert () == reading.problems
    for who in "abc":
        assert list(range(200)) == [event.fields["number"] for event in reading.events if event.fields["who"] == who]


def test_torn_last_line_is_passed_over_and_declared_by_the_next_writer(tmp_path: Path) -> None:
    """A crash in the middle of a line costs that line and is no problem, then or later."""
    path = tmp_path / "session.jsonl"
    with Journal(path) as journal:
        journal.append("one")
        journal.append("two")
    path.write_bytes(path.read_bytes()[:-9])

    torn = read_journal(path)
    with Journal(path) as journal:
        journal.append("three")
    continued = read_journal(path)

    assert (["one"], ()) == ([event.kind for event in torn.events], torn.problems)
    assert (["one", "torn", "three"], ()) == ([event.kind for event in continued.events], continued.problems)


@pytest.mark.parametrize("room", [0, 1, 30, 130, 250])
def test_what_a_full_disk_does_not_take_is_written_when_it_does(tmp_path: Path, room: int) -> None:
    """Once and with its own time, whichever of two processes tore a line; whoever appends is told."""
    path = tmp_path / "session.jsonl"
    with Journal(path) as journal, Journal(path) as other:
        journal.append("one")
        with disk_full_at(path.stat().st_size + room):
            journal.tell("two", stream="p1.cam")
            other.tell("three")
            with pytest.raises(JournalError, match=r"not written|torn"):
                journal.append("four")
        full = read_journal(path)
        until = time.monotonic_ns()
        assert other.catch_up()
        assert journal.catch_up()
        journal.append("five")
    reading = read_journal(path)

    assert (["one"], ()) == ([event.kind for event in full.events][:1], full.problems)
    assert {"one", "two", "three", "five"} == {event.kind for event in reading.events} - {"torn"}
    assert 4 == len([event for event in reading.events if event.kind != "torn"])
    assert () == reading.problems
    assert all(event.monotonic_ns < until for event in reading.of_kind("two", "three"))


def test_flipped_byte_in_the_middle_is_reported_with_its_line(tmp_path: Path) -> None:
    """A damaged line is named, the lines around it are read."""
    path = tmp_path / "session.jsonl"
    with Journal(path) as journal:
        for number in range(3):
            journal.append("count", number=number)
    content = bytearray(path.read_bytes())
    content[content.index(b'"number":1') + 9] ^= 1
    path.write_bytes(content)

    reading = read_journal(path)

    assert [0, 2] == [event.fields["number"] for event in reading.events]
    assert 1 == len(reading.problems)
    assert "line 2" in reading.problems[0]
