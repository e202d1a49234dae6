"""Exports of what is rare: byte orders, signs of nan, a stream that changes, windows without items, large files."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from support.exports import end_zarr_threads
from support.recordings import MadeStream

from stations.export import ExportError, Window, export, format_of
from stations.export.export import refuse_without_room
from stations.export.notes import read_notes
from stations.export.selection import Selection
from stations.recording import Recording, SessionRecorder
from tools import exits
from tools.cli import main

SIGNAL = "pilot1.signal"
FULL = """
import resource, sys
from tools.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
sys.exit(main())
"""
"""A disk that takes 6000 bytes a file."""

__all__ = ["end_zarr_threads"]


class Given(MadeStream):
    """A stream of given values, over and over."""

    def __init__(self, stream: str, values: NDArray[Any], **more: Any) -> None:
        super().__init__(stream, shape=values.shape[1:], dtype=values.dtype.str, **more)
        self.values = values

    def items(self, first: int, count: int) -> NDArray[Any]:
        return self.values[np.arange(first, first + count) % len(self.values)]


def record(folder: Path, *streams: MadeStream, items: int = 24) -> None:
    """Record some items of each stream."""
    session = SessionRecorder(folder, "demo")
    for made in streams:
        for block in made.blocks(0, items):
            session.store(block, made.spec)
    session.close()


NUMBERS = np.array([[0, 1], [2, 3], [100, 200], [7, 9]])


@pytest.mark.parametrize("dtype", [">i2", "|i1", "<u8", ">f8", "<f2"])
@pytest.mark.parametrize("name", ["hdf5", "zarr", "nwb", "mcap", "csv"])
def test_every_number_comes_back_whatever_its_size_and_byte_order(tmp_path: Path, name: str, dtype: str) -> None:
    """The greatest and the least of each type among them."""
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    values = np.array([[limits.max, limits.min], [1, 0], [3, 4], [5, 6]], kind)
    record(tmp_path / "rec", Given(SIGNAL, values, block_items=4, rate=1000))
    report = export(tmp_path / "rec", name, tmp_path / f"out.{name}", verify=True)
    assert (True, [], {SIGNAL: 24}) == (report.ok, report.differences, report.streams)


@pytest.mark.parametrize("name", ["hdf5", "zarr", "nwb", "mcap", "csv", "wav"])
def test_what_is_no_number_comes_back_with_its_sign(tmp_path: Path, name: str) -> None:
    """0/0 is a negative nan on x86; infinities and the negative zero have signs as well."""
    values = np.array([[np.nan, -np.nan], [np.inf, -np.inf], [0.0, -0.0], [1e-45, -3.4e38]], "<f4")
    assert [[False, True]] == np.signbit(values[:1]).tolist()
    record(tmp_path / "rec", Given(SIGNAL, values, block_items=4, rate=1000))
    report = export(tmp_path / "rec", name, tmp_path / f"out.{name}", verify=True)
    assert (True, []) == (report.ok, report.differences)


def test_a_stream_that_changes_is_left_out_and_told_the_others_are_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3: not all of the recording is in the export."""
    small, large = MadeStream(SIGNAL, shape=(2,), dtype="<i2"), MadeStream(SIGNAL, shape=(3,), dtype="<i2", birth=7)
    record(tmp_path / "rec", small, large, MadeStream())
    arguments = ["export", str(tmp_path / "rec"), "--format", "hdf5", "--output", str(tmp_path / "out.h5"), "--verify"]
    assert exits.UNBALANCED == main(arguments)
    out = capsys.readouterr().out
    assert "pilot1.cam0: 24 items" in out
    assert f'{SIGNAL}_part-001.h5: items change from (2,) "<i2" to (3,)' in out
    assert (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("window", [Window(5, 6), Window(0.2, 0.1), Window(0.0004, 0.0006)])
def test_a_window_without_an_item_is_refused(tmp_path: Path, window: Window) -> None:
    """And says how long the recording is; nothing is made."""
    record(tmp_path / "rec", MadeStream(SIGNAL, shape=(2,), dtype="<i2", block_items=4, rate=1000))
    with pytest.raises(ExportError, match=r"no item lies from .* s to .* s; the recording lasts 0\.024 s"):
        export(tmp_path / "rec", "hdf5", tmp_path / "out.h5", window=window)
    assert ["rec"] == [path.name for path in tmp_path.iterdir()]


def test_an_mcap_file_is_read_again_piece_by_piece(tmp_path: Path) -> None:
    """A recording is larger than memory."""
    made = MadeStream(shape=(512, 1024), dtype="|u1")
    noise = np.random.default_rng(5).integers(256, size=(1, 512, 1024), dtype=np.uint8)
    session = SessionRecorder(tmp_path / "rec", "demo")
    for number in range(100):
        session.store(made.block(number, items=noise, codec="raw"), made.spec)
    session.close()
    export(tmp_path / "rec", "mcap", tmp_path / "out.mcap")
    with Recording(tmp_path / "rec") as recording:
        selection = Selection(recording, {"pilot1.cam0": recording["pilot1.cam0"]})
        notes = read_notes(selection)
        tracemalloc.start()
        ((_, digest),) = format_of("mcap").read(tmp_path / "out.mcap", selection)
        again = format_of("mcap").read_notes(tmp_path / "out.mcap", ["events"])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (100, len(notes.lists["events"])) == (digest.count, len(again["events"]))
    assert most < 40 * noise.nbytes


@pytest.mark.parametrize("name", ["hdf5", "nwb"])
def test_what_cannot_fit_is_refused_before_hdf5_begins(tmp_path: Path, name: str) -> None:
    """A disk that fills up under HDF5 ends in a crash."""
    record(tmp_path / "rec", MadeStream())
    with Recording(tmp_path / "rec") as recording:
        needed = format_of(name).bytes_needed(Selection(recording, {"pilot1.cam0": recording["pilot1.cam0"]}))
    report = export(tmp_path / "rec", name, tmp_path / f"out.{name}")
    assert 24 * 12 * 16 * 3 < needed <= Path(report.output).stat().st_size
    refuse_without_room(tmp_path / "out", needed)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(ExportError, match=r"out needs \d+ MB, .* has \d+ MB free; make room, or name another --output"):
        refuse_without_room(tmp_path / "out", 2 * free)


@pytest.mark.parametrize("name", ["zarr", "mcap", "csv", "wav", "mp4"])
def test_a_full_disk_is_one_line_and_with_room_the_same_command_ends_it(tmp_path: Path, name: str) -> None:
    """No traceback, nothing under the output's name."""
    noise = np.random.default_rng(6).integers(256, size=(8, 128, 128), dtype=np.uint8)
    samples = np.random.default_rng(7).integers(-9999, 9999, size=(4096, 16)).astype("<i2")
    images = Given("pilot1.cam0", noise, rate=30)
    record(tmp_path / "rec", images, Given(SIGNAL, samples, block_items=64, rate=1000), items=256)
    output = tmp_path / f"out.{name}"
    arguments = ["export", str(tmp_path / "rec"), "--format", name, "--output", str(output), "--verify"]
    full = subprocess.run(
        [sys.executable, "-c", FULL, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert (exits.BAD_INPUT, 1) == (full.returncode, full.stderr.count("\n")), full.stderr
    assert f"{output} cannot be written: File too large; make room" in full.stderr
    assert not output.exists()
    assert exits.OK == main(arguments)
    assert ["out." + name, "rec"] == sorted(path.name for path in tmp_path.iterdir())


def test_labels_may_be_anything(tmp_path: Path) -> None:
    """Commas, quotes and empty ones among them: a table keeps its columns."""
    made = Given(SIGNAL, NUMBERS.astype("<i2"), block_items=4, rate=1000)
    made.spec = msgspec.structs.replace(made.spec, labels=('left, "front"', ""))
    record(tmp_path / "rec", made)
    report = export(tmp_path / "rec", "csv", tmp_path / "out", verify=True)
    with (tmp_path / "out" / f"{SIGNAL}.csv").open(newline="") as file:
        names, first, *_ = csv.reader(file)
    assert report.ok
    assert (['left, "front"', ""], ["0", "1"]) == (names[-2:], first[-2:])
