"""What a rig recorded is read as one array, and exported to everything, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.exports import end_zarr_threads
from support.rigs import SMALL, RunningRig, pipeline

from stations.recording import Recording
from stations.sources import check_items

__all__ = ["end_zarr_threads"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a camera and a signal."""
    with RunningRig(tmp_path_factory.mktemp("rig"), SMALL.format(name="exported"), "--duration", "2") as rig:
        rig.finish()
    assert 0 == rig.process.returncode, rig.said
    return rig.recording


def test_every_item_proves_itself_and_times_are_the_terminals(recording: Path) -> None:
    """Read by slices; on one machine there is nothing to align."""
    with Recording(recording) as source:
        for stream in source.values():
            assert [] == list(check_items(stream[:], stream.head.meta["selfcheck"]))  # type: ignore[index]  # it has one
            assert np.all(np.diff(stream.time) > 0)
            assert np.all(np.diff(stream.sequence[:].astype(int)) == 1)
            times, off = stream.aligned_time
            np.testing.assert_array_equal(times, stream.time)
            assert not np.any(off)
            assert [] == stream.gaps


@pytest.mark.parametrize("name", ["nwb", "mcap", "zarr", "hdf5", "csv", "wav", "mp4"])
def test_it_is_exported_as_a_user_does(recording: Path, tmp_path: Path, name: str) -> None:
    """`pipeline export --verify`, exit code 0."""
    output = tmp_path / name
    done = pipeline("export", str(recording), "--format", name, "--verify", "--json", "--output", str(output))
    assert 0 == done.returncode, done.stderr
    report = json.loads(done.stdout)
    assert (True, [], []) == (report["verified"], report["damaged"], report["differences"])
    with Recording(recording) as source:
        assert report["streams"] == {stream: len(source[stream]) for stream in report["streams"]}
    assert {"nwb": 2, "mcap": 2, "zarr": 2, "hdf5": 2, "csv": 1, "wav": 1, "mp4": 1}[name] == len(report["streams"])
    assert output.exists()
