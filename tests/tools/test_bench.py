"""The bench measures what it says, says when a promise does not hold, and refuses figures of lost items."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.bench.child import BenchError, Child, Control, hear_all
from tools.bench.feed import Feed
from tools.bench.payloads import PAYLOADS, make_pool
from tools.bench.promises import CASES
from tools.bench.registry import TRANSPORTS
from tools.bench.rows import bounded, compared
from tools.bench.sink import Sink
from tools.bench.transport import NEEDS, Job

PIPELINE = str(Path(sys.executable).with_name("pipeline"))


class Told(Control):
    """A control that nobody is at the other end of."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def report(self, **values: Any) -> None:
        self.found = values

    def wait(self) -> None:
        pass


def fed(block: int = 0) -> list[NDArray[Any]]:
    """Return copies of what a feed hands out in 10 ms."""
    job = Job(PAYLOADS[0], 1, "touch")
    return [item.copy() for item in Feed(Told(), job, make_pool(PAYLOADS[0]), 0.01, block)]


def taken(items: list[NDArray[Any]]) -> dict[str, Any]:
    """Return what a sink reports of them."""
    told = Told()
    sink = Sink(told, Job(PAYLOADS[0], 1, "touch"))
    assert [False] * (len(items) - 1) + [True] == [sink.take(item.reshape(-1).view("<u8").data) for item in items]
    return told.found


def test_a_row_compares_repeat_with_repeat() -> None:
    """The ratio is the median of the ratios of one repeat each, so a slow moment disturbs both sides alike."""
    row = compared("write", "items/s", [8.0, 80.0, 9.0], [10.0, 100.0, 10.0], floor=0.85)
    assert (9.0, 10.0, 0.8, False) == (row.value, row.baseline, row.ratio, row.holds)
    assert (8.0, 80.0) == (row.min, row.max)


def test_a_bound_is_a_ceiling() -> None:
    """A time holds when it is at most what was promised."""
    assert bounded("claim", "µs", [0.4, 0.6, 0.5], ceiling=0.5).holds
    assert not bounded("claim", "µs", [0.6], ceiling=0.5).holds
    assert bounded("claim", "µs", [0.6]).holds is None
    assert compared("p50", "µs", [2.0], [10.0], 0.2, at_most=True).holds
    assert not compared("p50", "µs", [3.0], [10.0], 0.2, at_most=True).holds


def test_what_was_sent_is_counted() -> None:
    """Between the marks every item counts once, sent singly or in blocks."""
    items = fed()
    found = taken(items)
    assert (0, len(items) - PAYLOADS[0].warm - 2) == (found["wrong"], found["items"])
    told = Told()
    sink = Sink(told, Job(PAYLOADS[0], 1, "touch"))
    blocks = np.concatenate(fed(64))
    for i in range(0, len(blocks), 50):
        is_last = sink.take_run(blocks[i : i + 50])
    assert is_last
    assert (0, len(blocks) - PAYLOADS[0].warm - 2) == (told.found["wrong"], told.found["items"])


def test_a_lost_or_torn_item_is_found() -> None:
    """One that is missing, and one that is made of two."""
    whole = fed()
    lost = whole.copy()
    del lost[PAYLOADS[0].warm + 5]
    assert taken(lost)["wrong"] > 0
    torn = whole.copy()
    torn[-5] = np.concatenate([torn[-5][:16], torn[-4][16:]])
    assert taken(torn)["wrong"] > 0


def test_a_process_that_fails_is_told() -> None:
    """Its exception ends the measurement with who and why, at once."""

    def fail(control: Control) -> None:
        raise ValueError("no such thing")

    def linger(control: Control) -> None:
        control.wait()

    children = [Child("lingering", linger), Child("failing", fail)]
    try:
        with pytest.raises(BenchError, match=r"failing: [\s\S]*no such thing"):
            hear_all(children, 30.0)
    finally:
        for child in children:
            child.kill()
            child.close()


def test_every_promise_names_transports_that_there_are() -> None:
    """And whatever is no dependency is never what is promised."""
    for case in CASES:
        assert set(case.transports()) <= set(TRANSPORTS)
        assert not {promise.ours for promise in case.promises} & set(NEEDS)


def test_bench_ring_prints_rows() -> None:
    """Every payload, beside all baselines of the same run, with real processes; no peer is missed unless asked for."""
    words = [PIPELINE, "bench", "ring", "--json", "--seconds", "0.02", "--repeats", "1"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert 0 == result.returncode, result.stderr
    rows = json.loads(result.stdout)
    for row in rows:
        assert {"name", "value", "unit", "baseline", "ratio", "floor", "holds", "min", "max"} <= set(row)
        assert row["value"] > 0 or row["unit"] == "µs"
    for payload in PAYLOADS:
        assert sum(row["name"].startswith(payload.name) for row in rows) >= 5
    for baseline in ("np.copyto", "pyzmq ipc", "pyzmq tcp", "stdlib"):
        assert any(row["name"].endswith(f"/ {baseline}") for row in rows)
    assert not any(peer in row["name"] for row in rows for peer in NEEDS)


@pytest.mark.stress
def test_bench_forward_prints_rows(tmp_path: Path) -> None:
    """A short one: every figure is there, and nothing is left of it, on the disk or in shared memory."""
    command = [PIPELINE, "bench", "forward", "--seconds", "0.1", "--repeats", "1", "--folder", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    rows = json.loads(done.stdout)
    assert 10 == len(rows)
    assert all(row["value"] > 0 for row in rows)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.stress
def test_bench_record_prints_rows(tmp_path: Path) -> None:
    """Images raw and compressed and samples beside a plain loop, the recorder's cost; nothing is left behind."""
    command = [PIPELINE, "bench", "record", "--seconds", "0.1", "--repeats", "1", "--folder", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    rows = json.loads(done.stdout)
    assert 5 == len(rows)
    assert all(row["value"] > 0 for row in rows)
    assert [] == list(tmp_path.iterdir())


def test_bench_read_prints_rows(tmp_path: Path) -> None:
    """Images in order and backwards, each beside what is promised; nothing is left behind."""
    command = [PIPELINE, "bench", "read", "--repeats", "1", "--folder", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    rows = json.loads(done.stdout)
    assert ["1080p in order", "1080p backwards"] == [row["name"] for row in rows]
    assert all(row["value"] > 0 and row["holds"] == (row["value"] >= row["floor"]) for row in rows)
    assert [] == list(tmp_path.iterdir())
