"""A recorder that is killed at a random moment, also while files are split: what is on the disk then.

`pytest -m stress tests/stations/test_recorder_killed.py` kills fifty, the suite two.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Self

import h5py
import hdf5plugin  # noqa: F401 - registers the blosc filter with h5py
import numpy as np
import psutil
import pytest
from support.recorder_bench import RECORDER, RIG, Bench, put
from support.recordings import MadeStream
from support.waiting import eventually

from pipeline import Message, PipelineError
from stations.recording import SegmentReader, read_journal, recover, verify
from stations.rows import MessageRows
from stations.sources.camera import CameraSource
from stations.sources.selfcheck import check_items
from stations.sources.signal import SignalSource

CAM, SIG = "pilot1.cam0", "pilot1.sig"
RATE = 100
"""Images per second, and blocks of samples."""
MAX_LOSS_S = 0.5
RUNS = [
    (0, 0.0),
    (1, 0.02),
    *(pytest.param(n, (0.0, 0.02, 0.2)[n % 3], marks=pytest.mark.stress) for n in range(2, 52)),
]
"""Seed, and megabytes of a file: of 0.02 several begin in the time of a flush."""
OPENS = """
import sys, h5py
for path in sys.argv[1:]:
    with h5py.File(path, "r", swmr=True) as file:
        assert all(name in file for name in (("data",) if "/data/" in path else ("data", "blocks"))), path
assert "hdf5plugin" not in sys.modules
"""


class Feed(threading.Thread):
    """Puts images, samples and rows that prove themselves into the Terminal's rings, as they come live."""

    def __init__(self, bench: Bench, rows: MessageRows) -> None:
        super().__init__(name="feed")
        self.made = {
            CAM: MadeStream(CAM, shape=(24, 32, 3), rate=RATE, meta={"selfcheck": "camera"}),
            SIG: MadeStream(SIG, shape=(8,), dtype="<i2", block_items=16, rate=16 * RATE, meta={"selfcheck": "signal"}),
        }
        self.times: list[int] = []
        """When each block was in its ring, ns, CLOCK_MONOTONIC: the same number of both streams."""
        self.halt = threading.Event()
        self._sources: dict[str, CameraSource | SignalSource] = {
            CAM: CameraSource(shape=(24, 32, 3)),
            SIG: SignalSource(channels=8),
        }
        self._rings = {name: bench.ring(made, slots=512) for name, made in self.made.items()}
        self._rows = rows

    def run(self) -> None:
        for source in self._sources.values():
            source.open()
        begin = time.monotonic()
        while not self.halt.wait(max(0.0, begin + len(self.times) / RATE - time.monotonic())):
            number = len(self.times)
            for name, made in self.made.items():
                items = np.empty((made.spec.block_items, *made.spec.shape), made.dtype)
                self._sources[name].read_into(items)
                codec = "raw" if number % 3 else "blosc"
                put(self._rings[name], made.block(number * len(items), items=items, codec=codec))
            self._rows.append("DATA", Message(id="1", to="T", sender="p1.task", key="DATA", value={"trial": number}))
            self.times.append(time.monotonic_ns())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.halt.set()
        self.join()


@pytest.fixture
def fed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Bench, Feed]]:
    """A recorder, and what it is fed with."""
    bench = Bench(tmp_path, max_loss_s=MAX_LOSS_S, segment_mb=request.getfixturevalue("segment_mb"))
    try:
        with MessageRows.create(RIG, "T", slots=512) as rows, Feed(bench, rows) as feed:
            bench.greeted()
            yield bench, feed
    finally:
        bench.close()


@pytest.mark.parametrize(("seed", "segment_mb"), RUNS)
def test_what_a_killed_recorder_leaves(tmp_path: Path, fed: tuple[Bench, Feed], seed: int, segment_mb: float) -> None:
    """Stock h5py opens every file; nothing older than `max_loss_s` is missing, and every item proves itself.

    Events that were confirmed are in the journal; `recover` makes the files plain and changes no chunk.
    """
    bench, feed = fed
    folder = tmp_path / "recording"
    bench.ask("START", {"directory": str(folder), "streams": [CAM, SIG]})
    began = len(feed.times)
    marks, killed_ns = mark_until_killed(bench, random.Random(seed).uniform(0.1, 2.0))
    feed.halt.set()
    feed.join()

    files = sorted(folder.rglob("*_part-*.h5"))
    subprocess.run([sys.executable, "-I", "-c", OPENS, *map(str, files)], check=True)
    due = sum(at < killed_ns - MAX_LOSS_S * 1e9 for at in feed.times)
    for made in feed.made.values():
        spans = [span(path) for path in files if path.name.startswith(made.spec.stream)]
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        if due > began:  # or it died before it had to have stored anything
            assert spans[0][0] <= (began + 1) * made.spec.block_items
            assert spans[-1][1] >= due * made.spec.block_items
    told = read_journal(folder / "session.jsonl")
    assert () == told.problems
    assert marks <= {event.fields["number"] for event in told.of_kind("mark")}
    assert_recovered(folder)


def mark_until_killed(bench: Bench, seconds: float) -> tuple[set[int], int]:
    """Tell the recorder of events until it is killed; return which it confirmed, and when it was killed, ns."""
    process = psutil.Process(bench.supervisor.pids()[RECORDER])
    killed: list[int] = []

    def kill() -> None:
        killed.append(time.monotonic_ns())
        os.kill(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    marks: set[int] = set()
    number = 0
    while not killed:
        try:
            bench.station.request(RECORDER, "EVENT", {"kind": "mark", "number": number}, timeout_s=0.5)
        except PipelineError:
            break
        marks.add(number)
        number += 1
    timer.join()
    assert eventually(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert marks or seconds < 0.5
    return marks, killed[0]


def span(path: Path) -> tuple[int, int]:
    """Read a file as anybody does; return which blocks' items are whole in it, each of which proves itself."""
    with h5py.File(path, "r", swmr=True) as file:
        lengths = [len(file[name]) for name in ("data", "seq", "time_ns") if name in file]
        count = min(*lengths, int(file["blocks"]["count"].sum()))
        kind = "camera" if path.name.startswith(CAM) else "signal"
        assert [] == check_items(file["data"][:count], kind)
        first = int(file.attrs["first"])
        return first, first + count


def assert_recovered(folder: Path) -> None:
    """Check that `recover` leaves the same chunks in files that open plainly, and nothing beside them."""
    report = verify(folder)
    assert report.ok, report.lines()
    before = {path.name: chunks_of(path) for path in folder.glob("*.h5")}
    assert recover(folder).ok
    for path in folder.rglob("*.h5"):
        h5py.File(path, "r").close()
    assert before == {path.name: chunks_of(path) for path in folder.glob("*.h5")}
    assert {".h5", ".jsonl"} == {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert {name: stream.stored for name, stream in report.streams.items()} == {
        name: stream.stored for name, stream in verify(folder).streams.items()
    }


def chunks_of(path: Path) -> list[tuple[int, bytes]]:
    with SegmentReader(path) as segment:
        return [segment.read_chunk(index) for index in range(len(segment.rows))]
