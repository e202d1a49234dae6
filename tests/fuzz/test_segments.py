"""Segment files with flipped bits, moved pieces and missing ends are read, trimmed or refused, never believed.

HDF5 is C: now and then a damaged structure makes it loop or crash.  Nothing in its process can prevent that; what is
tested is that it happens rarely, and there and nowhere else.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.recordings import MadeStream

pytest.importorskip("h5py")

SCRIPT = Path(__file__).parents[1] / "support" / "segment_fuzz.py"
MADE = {
    "images": MadeStream("p.cam", shape=(8, 8, 3)),
    "samples": MadeStream("p.sig", shape=(4,), dtype="<i2", block_items=32),
    "irregular": MadeStream("p.ev", shape=(2,), dtype="<f4", block_items=16, regular=False),
}
HDF5 = "hdf5"
"""It hung or died inside the library."""


def segment_of(made: MadeStream, folder: Path) -> Path:
    from stations.recording import SegmentFile
    from stations.recording.stream_recorder import head_of

    path = folder / f"{made.spec.stream}_part-000.h5"
    segment = SegmentFile(path, head_of(made.block(0), made.spec, rig="demo", part=0, origin=0))
    for number, block in enumerate(made.blocks(0, 5 * made.spec.block_items)):
        segment.append(block if number % 2 else made.block(block.header.first, codec="raw"))
    segment.close()
    return path


def storm(path: Path, count: int, seed: int) -> Counter[str]:
    """Read `count` mutations in processes of their own; return what came of them."""
    tests = SCRIPT.parents[1]
    found: Counter[str] = Counter()
    while found.total() < count:
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            str(SCRIPT),
            str(path),
            str(found.total()),
            str(count),
            str(seed),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PYTHONPATH": f"{tests}:{tests.parent}"}
        )
        found.update(done.stdout.splitlines())
        if done.returncode:
            where = re.search(r"most recent call first\):\n +(.*)", done.stderr)
            assert where, done.stderr
            assert "/h5py/" in where[1] or where[1].endswith("in read_chunk"), (
                f"number {found.total()} of seed {seed}: {done.stderr}"
            )
            found[HDF5] += 1
    assert {"read", "damaged", "refused", HDF5} >= set(found), f"seed {seed}: {found}"
    return found


@pytest.mark.parametrize("kind", MADE)
def test_spoilt_segments_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    """A flip in a payload is found by its CRC, one in the structure refuses the file."""
    found = storm(segment_of(MADE[kind], tmp_path), 40, seed=1)
    assert found["read"], found
    assert found["damaged"] or found["refused"], found


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", MADE)
def test_five_thousand_spoilt_segments(kind: str, tmp_path: Path) -> None:
    """Others than above."""
    found = storm(segment_of(MADE[kind], tmp_path), 5000, seed=2)
    print(found)
    assert found[HDF5] < 50, found
