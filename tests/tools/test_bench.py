"""The bench measures what it says, and says when a promise does not hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tools.bench.payloads import PAYLOADS, count_wrong, make_pool
from tools.bench.rows import bounded, compared

PIPELINE = str(Path(sys.executable).with_name("pipeline"))


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


def test_a_wrong_item_is_found() -> None:
    """An item that is not the one that was sent, or is made of two, is counted."""
    pool = make_pool(PAYLOADS[0])
    assert 0 == count_wrong(pool[5:9], 5, len(pool))
    assert 4 == count_wrong(pool[5:9], 6, len(pool))
    torn = pool[5:9].copy()
    torn[2] = np.concatenate([torn[2][:16], torn[3][16:]])
    assert 1 == count_wrong(torn, 5, len(pool))


def test_bench_ring_prints_rows() -> None:
    """Every payload, beside np.copyto of the same run, with a real reading process."""
    words = [PIPELINE, "bench", "ring", "--json", "--seconds", "0.02", "--repeats", "1"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert 0 == result.returncode, result.stderr
    rows = json.loads(result.stdout)
    for row in rows:
        assert {"name", "value", "unit", "baseline", "ratio", "floor", "holds"} <= set(row)
        assert row["value"] > 0 or row["unit"] == "µs"
    for payload in PAYLOADS:
        assert sum(row["name"].startswith(payload.name) for row in rows) >= 5
