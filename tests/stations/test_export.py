"""Exporting a recording: choosing, going on after an interruption, telling what is damaged and what differs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exports import CAM, EPHYS, GREY, HOST, end_zarr_threads, record, recording
from support.recordings import spoil

from stations.errors import MissingExtraError
from stations.export import FORMATS, ExportError, Window, export, format_of
from stations.export.export import differences
from stations.export.notes import read_notes
from stations.export.selection import select
from stations.recording import Recording
from tools.cli import main

PIPELINE = str(Path(sys.executable).with_name("pipeline"))
GOES_ON = ["nwb", "zarr", "hdf5", "csv", "wav"]
TESTS = str(Path(__file__).parents[1])
DIE = """
import os, signal
from pathlib import Path
from stations.export import export

def progress(what, done, total):
    if what == "write" and done > total / 2:
        os.kill(os.getpid(), signal.SIGKILL)

export(Path(sys.argv[1]), sys.argv[2], progress=progress, checkpoint_s=0)
"""

__all__ = ["end_zarr_threads", "recording"]


def content(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of each file of a folder."""
    return {str(f.relative_to(path)): f.read_bytes() for f in [path, *path.rglob("*")] if f.is_file()}


def interrupt(after: float) -> Any:
    """Return a progress that ends the export when this share of it is written."""

    def progress(what: str, done: int, total: int) -> None:
        if what == "write" and done > total * after:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_export_is_verified(recording: Path, tmp_path: Path, name: str) -> None:
    """Counts and checksums of every stream that the format can hold, and of all that goes along."""
    report = export(recording, name, tmp_path / f"out.{name}", verify=True)
    assert (True, True, [], []) == (report.ok, report.verified, report.damaged, report.differences)
    assert {CAM, GREY, EPHYS, HOST} == set(report.streams) | set(report.left_out)
    with Recording(recording) as source:
        assert {one: len(source[one]) for one in report.streams} == report.streams
    assert report.notes["gaps"] == 2 * len(report.streams)
    assert [f"out.{name}"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("name", GOES_ON)
def test_an_interrupted_export_goes_on_where_it_was(recording: Path, tmp_path: Path, name: str) -> None:
    """Nothing has the final name before; what comes of it is what comes without an interruption."""
    output = tmp_path / f"out.{name}"
    with pytest.raises(KeyboardInterrupt):
        export(recording, name, output, progress=interrupt(0.4), checkpoint_s=0)
    assert not output.exists()
    report = export(recording, name, output, verify=True)
    assert report.ok
    assert report.resumed_pieces > 0
    assert "went on behind" in "\n".join(report.lines())
    assert [output] == list(tmp_path.iterdir())
    if name in ("csv", "wav", "zarr"):
        export(recording, name, tmp_path / "whole")
        assert content(tmp_path / "whole") == content(output)


@pytest.mark.parametrize("name", ["hdf5", "nwb", "zarr", "wav"])
def test_an_export_whose_process_was_killed_goes_on(recording: Path, tmp_path: Path, name: str) -> None:
    """SIGKILL in the middle of writing."""
    source = tmp_path / "rec"
    source.symlink_to(recording)
    output = recording.with_name("rec" + format_of(name).suffix)
    died = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {TESTS!r})\n{DIE}", str(source), name],
        check=False, timeout=60,
    )  # fmt: skip
    assert -signal.SIGKILL == died.returncode
    assert not output.exists()
    report = export(source, name, verify=True)
    assert report.ok
    assert report.resumed_pieces > 0
    subprocess.run(["rm", "-r", str(output)], check=True)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["hdf5", "csv", "wav"]), st.lists(st.floats(0, 0.9), max_size=3))
def test_wherever_it_is_interrupted_the_result_is_the_same(recording: Path, name: str, at: list[float]) -> None:
    """Several times, at any piece."""
    with tempfile.TemporaryDirectory() as folder:
        output, streams = Path(folder) / "out", [EPHYS, HOST]
        for share in at:
            with pytest.raises(KeyboardInterrupt):
                export(recording, name, output, streams=streams, progress=interrupt(share), checkpoint_s=0)
        export(recording, name, output, streams=streams)
        export(recording, name, Path(folder) / "whole", streams=streams)
        assert content(Path(folder) / "whole") == content(output)


def test_films_go_on_with_the_one_that_was_begun(tmp_path: Path) -> None:
    """One that is whole is not made again."""
    record(tmp_path / "rec")
    for path in (tmp_path / "rec").glob(f"{CAM}_*"):  # the same images once more, of another camera
        (tmp_path / "rec" / path.name.replace("cam0", "cam1")).write_bytes(path.read_bytes())
    films = ["pilot1.cam0", "pilot1.cam1"]
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "rec", "mp4", streams=films, progress=interrupt(0.4), checkpoint_s=0)
    partial = tmp_path / ".partial.rec-mp4"
    done = (partial / "pilot1.cam0.mp4").stat()
    report = export(tmp_path / "rec", "mp4", streams=films, verify=True)
    assert (True, 1) == (report.ok, report.resumed_pieces)
    assert done.st_mtime_ns == (tmp_path / "rec-mp4" / "pilot1.cam0.mp4").stat().st_mtime_ns


def test_mcap_begins_anew(recording: Path, tmp_path: Path) -> None:
    """Its index comes last."""
    with pytest.raises(KeyboardInterrupt):
        export(recording, "mcap", tmp_path / "out", progress=interrupt(0.5), checkpoint_s=0)
    report = export(recording, "mcap", tmp_path / "out", verify=True)
    assert (True, 0) == (report.ok, report.resumed_pieces)


def test_what_another_selection_left_is_not_gone_on_with(recording: Path, tmp_path: Path) -> None:
    """Other streams: begun anew, and nothing of the old one stays."""
    with pytest.raises(KeyboardInterrupt):
        export(recording, "hdf5", tmp_path / "out", progress=interrupt(0.5), checkpoint_s=0)
    report = export(recording, "hdf5", tmp_path / "out", streams=["ephys"], verify=True)
    assert (True, 0, [EPHYS]) == (report.ok, report.resumed_pieces, list(report.streams))
    assert ["out"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["hdf5", "csv", "mcap"])
def test_a_damaged_block_is_named_and_the_rest_exported(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stream and item; exit code 3; in the export it is a gap with this reason."""
    record(tmp_path / "rec", births=1)
    for path in (tmp_path / "rec").glob(f"{EPHYS}_part-*.h5"):
        if path.name != f"{EPHYS}_part-000.h5":
            path.rename(path.with_suffix(".away"))
    spoil(tmp_path / "rec", EPHYS, 128)
    command = ["export", str(tmp_path / "rec"), "--format", name, "--verify", "--json", "--output", str(tmp_path / "o")]
    assert 3 == main(command)
    report = json.loads(capsys.readouterr().out)
    assert 1 == len(report["damaged"])
    assert "pilot1.ephys: pilot1.ephys_part-000.h5: item 128: its block of 64 items" in report["damaged"][0]
    assert ([], 9 * 64) == (report["differences"], report["streams"][EPHYS])
    gaps = [json.loads(line) for line in format_of(name).read_notes(tmp_path / "o", ["gaps"])["gaps"]]
    assert {"first": 128, "count": 64, "reason": "damaged", "position": 128}.items() <= next(
        gap for gap in gaps if gap["reason"] == "damaged"
    ).items()


def test_a_window_and_a_choice_of_streams(recording: Path, tmp_path: Path) -> None:
    """Times count from the recording's first item; blocks are cut where they must be."""
    report = export(recording, "hdf5", tmp_path / "out", streams=["cam0", EPHYS], window=Window(0.05, 0.1), verify=True)
    assert report.ok
    with h5py.File(tmp_path / "out") as file, Recording(recording) as source:
        for name in (CAM, EPHYS):
            times = source[name].utc[:] - source.extent.begin_ns if source.extent else np.empty(0)
            inside = (times >= 50_000_000) & (times < 100_000_000)
            assert inside.any()
            np.testing.assert_array_equal(source[name][inside], file[name]["data"][:])
            np.testing.assert_array_equal(source[name].sequence[:][inside], file[name]["sequence"][:])


@pytest.mark.parametrize("name", ["hdf5", "zarr", "csv", "wav"])
def test_what_was_changed_after_writing_is_found(recording: Path, tmp_path: Path, name: str) -> None:
    """Verification reads the result, not what was meant to be written."""
    form = format_of(name)
    export(recording, name, tmp_path / "out", streams=[EPHYS])
    selection = select(Recording(recording), [EPHYS], Window(), form.refuse, lambda *_: None)
    notes = read_notes(selection)
    assert [] == differences(form, tmp_path / "out", selection, notes, lambda *_: None)
    first = selection.streams[EPHYS][0]
    if name == "hdf5":
        with h5py.File(tmp_path / "out", "r+") as file:
            file[EPHYS]["data"][0] = first + 1
    elif name == "zarr":
        import zarr

        zarr.open_group(tmp_path / "out", mode="r+")[f"{EPHYS}/data"][0] = first + 1
    else:
        path = tmp_path / "out" / f"{EPHYS}.{name}"
        changed = bytearray(path.read_bytes())
        changed[-2] ^= 1
        path.write_bytes(changed)
    (found,) = differences(form, tmp_path / "out", selection, notes, lambda *_: None)
    assert EPHYS in found
    assert "bytes differ" in found
    selection.recording.close()


def test_what_cannot_be_is_refused_in_one_line(recording: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """A stream that is not there or does not fit, an output that is there, a package that is not."""
    for arguments, said in [
        (["--format", "wav", "--stream", "cam0"], "pilot1.cam0: wav holds samples of channels"),
        (["--format", "csv", "--stream", "pilot1.cam"], "no stream 'pilot1.cam'; did you mean 'pilot1.cam0'"),
        (["--format", "csv", "--output", str(tmp_path)], "is there already; remove it"),
    ]:
        assert 2 == main(["export", str(recording), *arguments])
        error = capsys.readouterr().err
        assert said in error
        assert 1 == error.count("\n")
    with pytest.raises(ExportError, match="no format is called 'nwbb'; did you mean 'nwb'"):
        format_of("nwbb")
    monkeypatch.setattr("stations.export.as_nwb.Nwb.modules", ("no_such_package",))
    with pytest.raises(
        MissingExtraError, match=r"needs no_such_package; run: pip install 'acquisition-pipeline\[nwb\]'"
    ):
        format_of("nwb")


def test_a_terminal_shows_how_far_it_is_and_nothing_else_does(recording: Path, tmp_path: Path) -> None:
    """A bar for each phase where somebody looks at it; a log file gets none."""
    command = [PIPELINE, "export", str(recording), "--format", "hdf5", "--verify", "--output"]
    plain = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, text=True, timeout=60, check=True)
    assert "" == plain.stderr
    assert "read again: bit for bit" in plain.stdout
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            [*command, str(tmp_path / "b")], stdout=subprocess.DEVNULL, stderr=theirs, timeout=60, check=True
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert all(phase in shown for phase in ("Checking", "Writing", "Reading again", "100 %"))


def test_every_format_is_on_the_command_line() -> None:
    """The command lists them without importing any."""
    from tools.export import NAMES

    assert set(FORMATS) == set(NAMES)
    assert os.sep not in "".join(NAMES)
