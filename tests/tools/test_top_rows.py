"""Rows of pipeline-top: two samples in, what a person needs to know out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.top.rows import Row, rows_of, select
from tools.top.sample import ProcessSample, ReaderSample, RingSample, Sample

SECOND = 1_000_000_000
NOW = 1000 * SECOND

CAMERA = RingSample(
    name="demo/pilot1.cam0",
    holds="items",
    birth=7,
    slots=180,
    bytes=166 * 2**20,
    shape=(480, 640, 3),
    dtype="uint8",
    item_bytes=921_600,
    published=6000,
    newest_ns=NOW - SECOND // 100,
    writer_pid=42,
    writer_alive=True,
    ended=False,
    target_hz=60.0,
)
FORWARD = ReaderSample("pilot1.forward", "lossless", 40, alive=True, position=5991)
VIEWER = ReaderSample("view", "latest", 41, alive=True, position=5000, skipped=900, lapped=100)


def row_for(ring: RingSample, earlier: RingSample | None = None, *, seconds: float = 1.0) -> Row:
    """Return the row of a ring that was `earlier` so many seconds before."""
    before = Sample(NOW - int(seconds * SECOND), (earlier,) if earlier else (), {42: ProcessSample(42, 10.0, 0, "")})
    after = Sample(NOW, (ring,), {42: ProcessSample(42, 10.0 + 0.12 * seconds, 55 * 2**20, "sleeping")})
    return rows_of(before, after)[0]


def test_rates_come_from_both_samples() -> None:
    """Sixty images a second of 0.92 MB, and the share of a core that it cost."""
    row = row_for(CAMERA, replace(CAMERA, published=5940))

    assert (60.0, 60.0, 55_296_000.0) == (row.hz, row.target, row.bytes_per_s)
    assert 0.12 == pytest.approx(row.cpu)
    assert "run" == row.state


def test_new_ring_has_no_rate_yet() -> None:
    """A ring, or a generation of it, seen once: unknown is None, never 0."""
    assert row_for(CAMERA).hz is None
    assert row_for(CAMERA, replace(CAMERA, birth=6, published=10)).hz is None


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "run"),
        ({"published": 0, "newest_ns": None}, "wait"),
        ({"target_hz": None}, "idle"),
        ({"newest_ns": NOW - 3 * SECOND}, "stall"),
        ({"newest_ns": NOW - SECOND // 2}, "run"),
        ({"writer_alive": False}, "dead"),
        ({"writer_alive": False, "ended": True}, "end"),
    ],
)
def test_state_says_what_is_wrong(change: dict[str, object], state: str) -> None:
    """Nothing was published since the sample before: the ring's own words decide."""
    ring = replace(CAMERA, **change)  # type: ignore[arg-type]

    row = row_for(ring, ring)

    assert state == row.state
    assert (state in {"stall", "dead"}) == row.is_unhealthy


def test_slow_stream_is_late_before_it_stalls() -> None:
    """Two periods of a 60 Hz camera are 33 ms."""
    assert row_for(replace(CAMERA, newest_ns=NOW - SECOND // 20)).is_late
    assert not row_for(CAMERA).is_late


def test_viewer_that_skips_loses_nothing() -> None:
    """Losses are those of readers that wanted everything."""
    behind = replace(FORWARD, policy="drop_oldest", lapped=3, torn=1)

    assert {} == row_for(replace(CAMERA, readers=(VIEWER,))).drops
    assert {"lapped": 3, "torn": 1} == row_for(replace(CAMERA, readers=(VIEWER, behind))).drops


def test_stream_that_loses_now_is_unhealthy_and_one_that_lost_before_is_not() -> None:
    """An old loss is told and does not ring the bell for ever."""
    lost = replace(CAMERA, dropped={"link": 64})

    assert row_for(lost, CAMERA).is_unhealthy
    assert not row_for(lost, lost).is_unhealthy
    assert {"link": 64} == row_for(lost, lost).drops


def test_lag_and_occupancy_are_those_of_the_living() -> None:
    """Nine slots of 180 are still needed; a dead reader holds nothing back, and a viewer is never behind."""
    dead = replace(FORWARD, alive=False, position=0)

    row = row_for(replace(CAMERA, readers=(FORWARD, VIEWER, dead)), replace(CAMERA, published=5940))

    assert (9, 9 / 180) == (row.lag, row.occupancy)
    assert ["read", "read", "dead"] == [reader.state for reader in row.readers]
    assert 0.15 == pytest.approx(row.readers[0].lag_s)


def test_blob_ring_counts_items_and_not_blocks() -> None:
    """30 blocks of 1024 samples a second are 30 kHz; bytes are those of the decoded items."""
    blobs = replace(CAMERA, holds="blobs", per_slot=1024, shape=(32,), dtype="int16", item_bytes=64, target_hz=None)

    row = row_for(blobs, replace(blobs, published=5970))

    assert (30_720.0, 30_720.0 * 64) == (row.hz, row.bytes_per_s)


def test_selection_filters_sorts_and_puts_the_unknown_last() -> None:
    """A part of a name is enough; a glob works; None never stands first."""
    rows = [
        row_for(replace(CAMERA, name=name), replace(CAMERA, name=name, published=published) if published else None)
        for name, published in (("a/cam0", 5990), ("a/cam1", None), ("b/cam0", 5940))
    ]

    assert ["b/cam0", "a/cam0", "a/cam1"] == [row.stream for row in select(rows, by="hz", reverse=True)]
    assert ["a/cam0", "b/cam0"] == [row.stream for row in select(rows, pattern="cam0")]
    assert ["a/cam0", "a/cam1"] == [row.stream for row in select(rows, pattern="a/*")]
