"""A power loss at any moment: closed files are whole, and nothing is missing that was said to be durable.

`pytest -m stress tests/stations/test_power_loss.py` looks at 600 moments of 30 recordings, the suite at some of one.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.durable_recording import MADE, Durable, from_line, record
from support.power_loss import DiskImage, SyncedOnly, cut_power_on_ext4

from stations.recording import (
    RowsReader,
    SegmentFormatError,
    SegmentReader,
    SessionRecorder,
    read_journal,
    recover,
    verify,
)
from stations.recording.ranges import Ranges
from stations.recording.resume import open_file_of

RUNS = [(0, 3), *(pytest.param(seed, 20, marks=pytest.mark.stress) for seed in range(1, 31))]
"""Seed, and how many power losses are looked at beside the one after the end."""
STEPS = 80
"""Blocks of each stream."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was told until a moment, and what the disk has if power fails then."""

    told: Durable
    disk: DiskImage


def moments_of(folder: Path, steps: int, seed: int) -> list[Moment]:
    """Record on a disk that keeps what was synced; return the moments after each step and after each sync."""
    folder.mkdir()
    chance = random.Random(seed)
    moments: list[Moment] = []
    told: list[Durable] = [{}]
    disk = SyncedOnly(folder, chance, lambda: moments.append(Moment(told[0], disk.image())))

    def tell(durable: Durable) -> None:
        told[0] = durable
        moments.append(Moment(durable, disk.image()))

    with disk.takes_syncs():
        record(folder / "sub" / "rec", steps, chance, tell)
    return moments


def assert_safe(folder: Path, told: Durable) -> tuple[int, int]:
    """Check a recording after a power loss; return how many files were closed, and how many do not open."""
    assert_durable(folder, told)
    if not (folder / "session.jsonl").exists():
        return 0, 0
    journal, report = read_journal(folder / "session.jsonl"), verify(folder)
    assert ((), []) == (journal.problems, report.problems)
    closed = {event.fields["file"]: event.fields["items"] for event in journal.of_kind("segment_closed")}
    for name, items in closed.items():
        with open_file_of(folder / name) as segment:
            assert (items, False, "") == (segment.items, segment.was_killed, segment.damage), name
    damaged = [path for path in files_of(folder) if not opens(path)]
    problems = [problem for stream in report.streams.values() for problem in stream.problems]
    assert sorted(path.name for path in damaged) == sorted(problem.partition(":")[0] for problem in problems)
    assert all("is empty" in problem for problem in problems), problems
    assert not any(stream.bad_items or stream.backward_times for stream in report.streams.values())
    return len(closed), len(damaged)


def assert_durable(folder: Path, told: Durable) -> None:
    """Check that all that was told is in files that open, and that whatever is in those is what was sent."""
    stored: defaultdict[tuple[str, int], Ranges] = defaultdict(Ranges)
    for path in filter(opens, files_of(folder)):
        with open_file_of(path) as segment:
            head = segment.head
            stored[head.stream, head.birth].add(head.first, segment.end)
            for item in segment if isinstance(segment, RowsReader) else ():
                assert {"trial": item["sequence"]} == item["value"]
            for chunk in segment if isinstance(segment, SegmentReader) else ():
                expected = MADE[head.stream].items(chunk.first, chunk.count)
                np.testing.assert_array_equal(expected, segment.decode(chunk))
    missing = {key: [stored[key].holes(first, end) for first, end in runs] for key, runs in told.items()}
    assert not any(hole for holes in missing.values() for hole in holes), f"durable and not there: {missing}"


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*_part-*.h5"))


def opens(path: Path) -> bool:
    try:
        open_file_of(path).close()
    except SegmentFormatError:
        return False
    return True


def assert_recovered(folder: Path, told: Durable) -> None:
    """Check that `recover` leaves what any HDF5 tool opens and nothing else."""
    recovered = recover(folder)
    assert recovered.ok, recovered.lines()
    assert not verify(folder).problems
    assert not any(stream.problems for stream in verify(folder).streams.values())
    for path in files_of(folder):
        h5py.File(path, "r").close()
    assert_durable(folder, told)


def assert_goes_on(folder: Path, told: Durable) -> None:
    """Check that a recorder goes on there with what comes after a boot."""
    session = SessionRecorder(folder, "demo", resume=True)
    for made in MADE.values():
        for block in made.blocks(10_000, 10_000 + 5 * made.spec.block_items, birth=8, origin=10_000):
            session.store(block, made.spec)
    summary = session.close()
    for made in MADE.values():
        assert 5 * made.spec.block_items == summary[made.spec.stream]["births"][f"{8:016x}"]["stored"]
    assert_durable(folder, told)


@pytest.mark.parametrize(("seed", "losses"), RUNS)
def test_nothing_that_was_durable_is_missing_after_a_power_loss_at_any_moment(
    tmp_path: Path, seed: int, losses: int
) -> None:
    """Closed files are whole, others open or are named, `recover` makes all plain, and a recorder goes on."""
    moments = moments_of(tmp_path / "top", STEPS, seed)
    chance = random.Random(seed)
    closed = []
    for number, moment in enumerate([*chance.sample(moments, losses), moments[-1]]):
        top = tmp_path / str(number)
        moment.disk.restore(top)
        folder = top / "sub" / "rec"
        closed.append(assert_safe(folder, moment.told)[0])
        if closed[-1]:
            chance.choice((assert_recovered, assert_goes_on))(folder, moment.told)
        shutil.rmtree(top)
    assert max(closed) > 10, closed


@pytest.mark.stress
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.ext4"), reason="only root mounts a disk image")
@pytest.mark.parametrize("seed", range(30))
def test_nothing_that_was_durable_is_missing_on_ext4(tmp_path: Path, seed: int) -> None:
    """What a real file system has sent to its disk at a moment, mounted anew."""
    chance = random.Random(seed)
    lines = cut_power_on_ext4(tmp_path, ("support.durable_recording", "sub/rec", str(seed)), chance.uniform(0.5, 3))
    folder, told = tmp_path / "found" / "sub" / "rec", from_line(lines[-1])
    assert told
    closed, _ = assert_safe(folder, told)
    assert closed
    chance.choice((assert_recovered, assert_goes_on))(folder, told)
