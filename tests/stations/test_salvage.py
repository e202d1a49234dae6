"""Salvage: two rings of a stream become one run of items, and what neither has is a gap with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.recordings import BIRTH, MadeStream

from shm import BlobWriter, RingWriter, clean
from stations.errors import NoRingsError, RigRunsError
from stations.recording import Recording, RecordingFolderError, read_journal, verify
from stations.riglock import RigLock
from stations.salvage import salvage_rig

RIG = f"salvtest{os.getpid()}"
STREAM = "p1.sig"


@pytest.fixture(autouse=True)
def cleaned() -> Iterator[None]:
    yield
    clean(rig=RIG)


def stream(birth: int = BIRTH) -> MadeStream:
    return MadeStream(STREAM, shape=(8,), dtype="<i2", block_items=16, rate=1000, birth=birth)


def pilot(end: int, slots: int = 256) -> RingWriter:
    """Leave a Pilot's ring that saw the items [0, end); it keeps `slots` of them."""
    made = stream()
    ring = RingWriter.create(
        f"{RIG}/{STREAM}", shape=(8,), dtype="<i2", slots=slots, meta={"rate": 1000, "period_ns": made.period_ns}
    )
    for at in range(0, end, 8):
        count = min(8, end - at)
        ring.write_block(made.items(at, count), time_ns=int(made.times(at, 1)[0]), period_ns=made.period_ns)
    ring.close(unlink=False)
    return ring


def terminal(made: MadeStream, *runs: tuple[int, int], **header: object) -> None:
    """Leave a Terminal's ring with the blocks of these runs; what is between two, a link has lost."""
    spec = made.spec
    ring = BlobWriter.create(f"{RIG}/T/{STREAM}", max_bytes=spec.slot_bytes, slots=64, meta=spec.to_meta())
    before = runs[0][0]
    for first, end in runs:
        for block in made.blocks(first, end, **header):
            lost = {"lost": first - before, "lost_reason": "link"} if block.header.first == first != before else {}
            told = made.block(block.header.first, block.header.count, **header, **lost)
            ring.write(*told.to_blob())
        before = end
    ring.close(unlink=False)


def salvaged(folder: Path) -> Path:
    """Salvage, check what there is against the stream, and return the recording."""
    found = salvage_rig(RIG, folder)
    assert found.ok, found.problems
    report = verify(found.recording)
    assert report.ok, report.lines()
    made = stream()
    for item in Recording(found.recording)[STREAM].items():
        np.testing.assert_array_equal(made.items(item.sequence, 1)[0], item.data)
        assert made.times(item.sequence, 1)[0] == item.time_ns
    return found.recording


def account(recording: Path) -> tuple[list[int], list[tuple[int, int, str]]]:
    """Return the sequences in the files, and the gaps."""
    gaps = [(gap.first, gap.count, gap.reason) for gap in verify(recording).streams[STREAM].gaps]
    return [item.sequence for item in Recording(recording)[STREAM].items()], gaps


def test_of_a_pilots_ring_alone_the_overwritten_range_is_a_gap(tmp_path: Path) -> None:
    """On a Pilot's machine there is nothing else; all that it retains, and from its birth on what it does not."""
    ring = pilot(1000)
    sequences, gaps = account(salvaged(tmp_path))
    assert list(range(1000 - ring.slots, 1000)) == sequences
    assert [(0, 1000 - ring.slots, "lapped")] == gaps


@pytest.mark.parametrize("slots", [256, 768])
def test_older_items_come_from_the_terminals_ring_and_newer_from_the_pilots(tmp_path: Path, slots: int) -> None:
    """Whichever of the two holds more: each item once, the run goes back to the START that the blocks know."""
    ring = pilot(1000, slots)
    birth = ring.birth
    terminal(stream(birth), (220, 908), origin=200)
    recording = salvaged(tmp_path)
    sequences, gaps = account(recording)
    # A block that the fuller ring has only in part comes whole, so nothing is cut in the middle of one.
    assert list(range(220, 1000)) == sequences
    assert [(200, 20, "lapped")] == gaps
    (told,) = read_journal(recording / "session.jsonl").of_kind("salvaged")
    assert ([1000 - ring.slots, 1000], 688) == (told.fields["pilot"], told.fields["terminal"])


def test_reasons_that_blocks_tell_are_kept_and_the_spools_is_not_promised(tmp_path: Path) -> None:
    """What a link lost is `link`; what neither ring has is `lapped`; nothing waits for a spool."""
    ring = pilot(2000)
    terminal(stream(ring.birth), (96, 160), (192, 256), origin=0)
    sequences, gaps = account(salvaged(tmp_path))
    oldest = 2000 - ring.slots
    assert [*range(96, 160), *range(192, 256), *range(oldest, 2000)] == sequences
    assert [(0, 96, "lapped"), (160, 32, "link"), (256, oldest - 256, "lapped")] == gaps


def test_an_earlier_birth_in_the_terminals_ring_is_kept_beside_the_pilots(tmp_path: Path) -> None:
    """A sensor that came back with another ring: both births, each with its account."""
    ring = pilot(100)
    terminal(stream(), (0, 64))
    found = salvage_rig(RIG, tmp_path)
    births = found.streams[STREAM]["births"]
    assert {f"{BIRTH:016x}": 64, f"{ring.birth:016x}": 100} == {birth: row["stored"] for birth, row in births.items()}
    assert verify(found.recording).ok


def test_a_damaged_block_is_told_and_taken_from_the_other_ring(tmp_path: Path) -> None:
    """Its CRC fails: the Pilot's ring has the items still."""
    ring = pilot(160)
    terminal(stream(ring.birth), (0, 160), crc=1)
    found = salvage_rig(RIG, tmp_path)
    assert not found.ok
    assert [f"{STREAM}: 10 blocks in the Terminal's ring are damaged"] == found.problems
    assert 160 == found.streams[STREAM]["stored"]


def test_a_rig_that_lives_is_refused_by_name(tmp_path: Path) -> None:
    """By its lock, and where there is none by its rings; a rig of no rings with those that left some."""
    pilot(10)
    with RigLock(RIG, ["T"]), pytest.raises(RigRunsError, match=rf"rig '{RIG}' runs on this machine \(T\)"):
        salvage_rig(RIG, tmp_path)
    with (
        RingWriter.create(f"{RIG}/p2.x", shape=(1,), dtype="u1", slots=8),
        pytest.raises(RigRunsError, match=rf"\({RIG}/p2.x, pid {os.getpid()}\)"),
    ):
        salvage_rig(RIG, tmp_path)
    assert [] == list(tmp_path.iterdir())
    with pytest.raises(NoRingsError, match=f"'{RIG}x' is in shared memory; did you mean '{RIG}'"):
        salvage_rig(f"{RIG}x", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingFolderError, match="cannot record there"):
        salvage_rig(RIG, tmp_path / "file")
