"""A rig is recorded, exported, replayed and recorded anew: the same items again, at the same distances in time.

`pytest -m stress tests/rigs/test_round_trip.py` does it with four seconds, then with ten minutes and every format that
holds all streams; of the suite, `test_replay` and `test_export` do the two halves.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.exports import end_zarr_threads
from support.rigs import SMALL, RunningRig, pipeline

from stations.recording import Recording, StreamRecording, verify

__all__ = ["end_zarr_threads"]

LONGEST_S = 600.0
"""An export or a replay of ten minutes takes no longer."""
AT_ONCE = 500
"""Items compared at a time."""
APART_S = 0.5
"""Each stream counts from its own START: how far streams may move against each other, seconds."""
RUNS = [
    pytest.param(4, ("mcap",), id="4s", marks=pytest.mark.stress),
    pytest.param(600, ("nwb", "mcap", "zarr"), id="600s", marks=[pytest.mark.stress, pytest.mark.timeout(3600)]),
]


@pytest.mark.parametrize(("duration_s", "formats"), RUNS)
def test_what_was_recorded_is_exported_and_replayed_into_the_same_again(
    tmp_path: Path, duration_s: int, formats: tuple[str, ...]
) -> None:
    """No item lost on the way there or back; every export is read again and equal; both recordings verify."""
    text = SMALL.format(name=f"cycle-{duration_s}")
    with RunningRig(tmp_path, text, "--duration", str(duration_s)) as rig:
        result = rig.finish(timeout_s=duration_s + 90)
    assert 0 == rig.process.returncode, rig.said
    for stream, rate in (("p1.cam", 30), ("p1.sig", 1000)):
        account = result["streams"][stream]
        assert account["produced"] == account["stored"] >= 0.9 * rate * duration_s, account
    assert verify(rig.recording).ok, verify(rig.recording).lines()

    for name in formats:
        assert_exported(rig.recording, tmp_path / f"export.{name}", name)

    options = ("--rate", "max", "--no-browser", "--json", "--output", str(tmp_path / "again"))
    done = pipeline("replay", str(rig.recording), *options, timeout_s=LONGEST_S)
    assert 0 == done.returncode, done.stderr
    again = Path(json.loads(done.stdout)["recording"])
    assert verify(again).ok, verify(again).lines()
    assert_same(rig.recording, again)


def assert_exported(recording: Path, output: Path, name: str) -> None:
    """Export as a user does; what was written is read again and holds as many items."""
    options = ("--format", name, "--verify", "--json", "--output", str(output))
    done = pipeline("export", str(recording), *options, timeout_s=LONGEST_S)
    assert 0 == done.returncode, done.stderr
    report = json.loads(done.stdout)
    assert (True, [], []) == (report["verified"], report["damaged"], report["differences"])
    with Recording(recording) as source:
        assert {stream: len(source[stream]) for stream in source} == report["streams"]


def assert_same(recording: Path, again: Path) -> None:
    """Compare all streams of two recordings: counts, sequences, bytes, and every step in time."""
    with Recording(recording) as was, Recording(again) as now:
        assert list(was) == list(now)
        shifts = [assert_same_stream(was[stream], now[stream]) for stream in was]
    assert max(shifts) - min(shifts) < APART_S * 1e9


def assert_same_stream(was: StreamRecording, now: StreamRecording) -> int:
    """Compare two streams; return by how much the second is later, ns."""
    assert (was.dtype, was.shape, len(was)) == (now.dtype, now.shape, len(now))
    np.testing.assert_array_equal(np.arange(len(was)), now.sequence[:])
    np.testing.assert_array_equal(np.diff(was.time[:]), np.diff(now.time[:]))
    for begin in range(0, len(was), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        assert was[part].tobytes() == now[part].tobytes(), f"items from {begin} on differ"
    return int(now.time[0] - was.time[0])
