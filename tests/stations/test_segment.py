"""A segment file, read by stock h5py and hdf5plugin: the independent witness."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the blosc filter with h5py
import numpy as np
import pytest
from support.recordings import BIRTH, MadeStream

from stations.recording import SegmentFile, SegmentFullError, SegmentReader, layout
from stations.recording.stream_recorder import head_of


def write(path: Path, made: MadeStream, end: int, codecs: tuple[str, ...] = ("blosc", "raw")) -> list[bytes]:
    """Write [0, end) with the codecs in turn; return the payloads."""
    payloads = []
    first = made.block(0)
    segment = SegmentFile(path, head_of(first, made.spec, rig="demo", part=0, origin=0))
    for number, at in enumerate(range(0, end, made.spec.block_items)):
        block = made.block(at, min(made.spec.block_items, end - at), codec=codecs[number % len(codecs)])
        segment.append(block)
        payloads.append(bytes(block.payload))
    segment.close()
    return payloads


@pytest.mark.parametrize(
    "made",
    [
        MadeStream(),
        MadeStream("pilot1.ephys", shape=(32,), dtype="<i2", block_items=64, rate=3000),
        MadeStream("pilot1.host", shape=(5,), dtype="<f8", rate=20, regular=False),
        MadeStream("pilot1.scalar", shape=(), dtype="<u4", block_items=16),
    ],
    ids=lambda made: str(made.spec.stream),
)
def test_stock_h5py_reads_every_bit(tmp_path: Path, made: MadeStream) -> None:
    """Items equal what was sent, the last block being short; chunks on disk are the payloads, byte for byte."""
    end = 5 * made.spec.block_items + (7 if made.spec.block_items > 7 else 0)
    payloads = write(tmp_path / "a.h5", made, end)

    with h5py.File(tmp_path / "a.h5", "r") as file:
        data = file["data"]
        np.testing.assert_array_equal(made.items(0, end), data[:], strict=True)
        offsets = range(0, end, made.spec.block_items)
        chunks = [data.id.read_direct_chunk((at, *(0 for _ in made.spec.shape))) for at in offsets]
        assert payloads == [payload for _, payload in chunks]
        assert [0, 1] == [mask for mask, _ in chunks][:2]
        assert list(offsets) == file["blocks"]["first_seq"].tolist()
        assert made.times(0, end)[:: made.spec.block_items].tolist() == file["blocks"]["time_ns"].tolist()


def test_images_carry_sequence_and_time_each_and_samples_a_row_per_block(tmp_path: Path) -> None:
    """`seq` and `time_ns` exist for images and irregular streams only."""
    image, trace = MadeStream(), MadeStream(shape=(4,), dtype="<i2", block_items=32)
    write(tmp_path / "image.h5", image, 5)
    write(tmp_path / "trace.h5", trace, 64)

    with h5py.File(tmp_path / "image.h5", "r") as file:
        assert list(range(5)) == file["seq"][:].tolist()
        assert image.times(0, 5).tolist() == file["time_ns"][:].tolist()
    with h5py.File(tmp_path / "trace.h5", "r") as file:
        assert {"data", "blocks"} == set(file)
    with SegmentReader(tmp_path / "trace.h5") as segment:
        np.testing.assert_array_equal(trace.times(0, 64), segment.times)


def test_attributes_tell_the_stream(tmp_path: Path) -> None:
    """Everything known of the stream is in the file, in words that any HDF5 tool shows."""
    made = MadeStream(meta={"selfcheck": "camera"})
    write(tmp_path / "a.h5", made, 1)

    with h5py.File(tmp_path / "a.h5", "r") as file:
        attributes = dict(file.attrs)
    expected = {
        "layout": 1, "rig": "demo", "stream": "pilot1.cam0", "part": 0, "birth": f"{BIRTH:016x}", "epoch": 0,
        "first": 0, "origin": 0, "dtype": '"|u1"', "shape": "[12, 16, 3]", "block_items": 1, "regular": True,
        "rate": 100.0,
        "labels": '["a", "\\u00fc"]', "unit": "V", "clock_domain": "box", "clock_monotonic_ns": 5,
        "clock_realtime_ns": 7, "meta": '{"selfcheck": "camera"}',
    }  # fmt: skip
    assert expected == attributes
    with SegmentReader(tmp_path / "a.h5") as segment:
        assert (BIRTH, ("a", "ü"), (12, 16, 3)) == (segment.head.birth, segment.head.labels, segment.head.shape)


def test_raw_chunks_need_no_plugin(tmp_path: Path) -> None:
    """A file of raw blocks is read by h5py alone."""
    made = MadeStream()
    write(tmp_path / "a.h5", made, 3, codecs=("raw",))
    code = f"import h5py; print(h5py.File({str(tmp_path / 'a.h5')!r})['data'][2].sum())"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert made.items(2, 1).sum() == int(result.stdout)


def test_nothing_follows_a_short_block(tmp_path: Path) -> None:
    """Chunks lie on a grid, so a short block ends its file, and the first is where the head says."""
    made = MadeStream(shape=(4,), block_items=8)
    segment = SegmentFile(tmp_path / "a.h5", head_of(made.block(0), made.spec, rig="demo", part=0, origin=0))
    with pytest.raises(SegmentFullError, match="block 8 cannot follow item 0"):
        segment.append(made.block(8))
    segment.append(made.block(0, 3))

    with pytest.raises(SegmentFullError, match="block 3 cannot follow"):
        segment.append(made.block(3))
    segment.close()


def write_with_gaps(path: Path) -> MadeStream:
    """Write samples in blocks of 8, of which those from 16 and from 40 on are missing, and a short one from 56 on."""
    made = MadeStream(shape=(4,), dtype="<i2", block_items=8)
    segment = SegmentFile(path, head_of(made.block(0), made.spec, rig="demo", part=0, origin=0))
    for first, count in ((0, 8), (8, 8), (24, 8), (32, 8), (48, 8), (56, 3)):
        segment.append(made.block(first, count))
    segment.close()
    return made


def test_blocks_of_samples_may_be_missing_in_the_middle_of_a_file(tmp_path: Path) -> None:
    """What is told of each block says which sequences, times and items there are; stock h5py reads them in order."""
    made = write_with_gaps(tmp_path / "a.h5")
    there = [*range(16), *range(24, 40), *range(48, 59)]

    with SegmentReader(tmp_path / "a.h5") as segment:
        assert ([(0, 16), (24, 40), (48, 59)], "") == (segment.runs(), segment.damage)
        assert there == segment.sequences.tolist()
        np.testing.assert_array_equal(made.times(0, 59)[there], segment.times)
        for chunk in segment:
            np.testing.assert_array_equal(made.items(chunk.first, chunk.count), segment.decode(chunk))
    with h5py.File(tmp_path / "a.h5", "r") as file:
        np.testing.assert_array_equal(made.items(0, 59)[there], file["data"][:])


@pytest.mark.parametrize("field", ["first_seq", "count"])
@pytest.mark.parametrize("row", range(6))
def test_a_damaged_row_of_samples_is_no_gap(tmp_path: Path, row: int, field: str) -> None:
    """However it is wrong: nothing behind it is given another sequence, and the file says that it is damaged."""
    for wrong in (1, 8, 1 << 30):
        path = tmp_path / f"{wrong}.h5"
        made = write_with_gaps(path)
        with h5py.File(path, "r+") as file:
            rows = file["blocks"][:]
            rows[field][row] += wrong
            file["blocks"][:] = rows
        with SegmentReader(path) as segment:
            whole = [chunk for chunk in segment if segment.is_whole(chunk)]
            assert segment.damage or len(whole) < len(segment.rows)
            for chunk in whole:
                np.testing.assert_array_equal(made.items(chunk.first, chunk.count), segment.decode(chunk))


@pytest.mark.parametrize("row", [5, 9])
def test_without_checks_a_row_that_does_not_follow_is_damaged(tmp_path: Path, row: int) -> None:
    """Files of before rows had one have no gaps."""
    made = MadeStream(shape=(4,), dtype="<i2", block_items=32)
    write(tmp_path / "a.h5", made, 320)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        rows = file["blocks"][:]
        rows["first_seq"][row] += 64
        del file["blocks"]
        names = list(layout.UNCHECKED_ROW.names or ())
        file["blocks"] = np.array([tuple(one[names]) for one in rows], layout.UNCHECKED_ROW)

    with SegmentReader(tmp_path / "a.h5") as segment:
        assert ([(0, 32 * row)], 32 * row) == (segment.runs(), segment.items)
        assert f"row {row} of 'blocks' (item {32 * row}) is damaged" in segment.damage


def test_a_file_whose_rows_have_no_check_is_read(tmp_path: Path) -> None:
    """As they were before rows had one: every chunk is whole by the wire's CRC."""
    made = MadeStream()
    write(tmp_path / "a.h5", made, 5)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        rows = file["blocks"][:]
        del file["blocks"]
        names = list(layout.UNCHECKED_ROW.names or ())
        file["blocks"] = np.array([tuple(row[names]) for row in rows], layout.UNCHECKED_ROW)

    with SegmentReader(tmp_path / "a.h5") as segment:
        assert rows.tolist() == segment.rows.tolist()
        assert all(segment.is_whole(chunk) for chunk in segment)


def test_readme_shows_the_format() -> None:
    """Every dataset, field and attribute has its row in the README's tables."""
    readme = (Path(__file__).parents[2] / "stations" / "README.md").read_text()
    rows = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| `")]
    named = {name.strip(" `") for row in rows for name in row.split(",")}
    made = MadeStream()
    attributes = head_of(made.block(0), made.spec, rig="demo", part=0, origin=0).to_attributes()

    expected = {layout.DATA, layout.SEQ, layout.TIME, layout.BLOCKS, *(layout.BLOCK_ROW.names or ()), *attributes}
    assert set() == expected - named
