"""Files of message rows: as any HDF5 program reads them, found damaged, recovered after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Message
from stations.recording import Recording, RecordingFolderError, SessionRecorder, recover, verify
from stations.recording.rows_intake import RowsIntake
from stations.recording.rows_layout import ROW, ROWS_PER_CHUNK
from stations.rows import MessageRows

h5py = pytest.importorskip("h5py")

RIG = f"rowsrec{os.getpid()}"
NAME = f"{RIG}/T/rows"

KILLED = """
import os, sys, time
from pathlib import Path
from stations.recording import SessionRecorder
from stations.recording import rows_intake
from stations.recording.rows_intake import RowsIntake
rows_intake.AT_ONCE = 10
session = SessionRecorder(Path(sys.argv[1]), sys.argv[2], max_loss_s=60)
intake = RowsIntake(f"{sys.argv[2]}/T/rows")
intake.begin(session, time.monotonic())
print("ready", flush=True)
read = 0
while read < int(sys.argv[3]):
    intake.do_work(time.monotonic())
    read = sum(recorder.stored for recorder in session.rows.values())
os._exit(9)
"""


def values(count: int) -> list[Any]:
    """Return values of every kind, all different."""
    kinds: list[Any] = [
        lambda n: {"trial": n, "response": "left" if n % 2 else "right", "rt": n / 7},
        lambda n: n,
        lambda n: f"row {n} ü",
        lambda n: {"trace": np.arange(n % 50, dtype="<f4") * n, "n": n},
        lambda n: [n, None, n % 2 == 0, {"nested": [n]}],
    ]
    return [kinds[number % len(kinds)](number) for number in range(count)]


def message(value: Any, sender: str = "pilot1.task") -> Message:
    """Return a message as it arrives."""
    return Message(Message(id="1", to="T", sender=sender, key="DATA", value=value, subject="m1").serialize())


def same(sent: Any, found: Any) -> bool:
    """Compare values with arrays in them."""
    if isinstance(sent, np.ndarray):
        return isinstance(found, np.ndarray) and sent.dtype == found.dtype and np.array_equal(sent, found)
    if isinstance(sent, dict):
        return sent.keys() == found.keys() and all(same(sent[key], found[key]) for key in sent)
    return bool(sent == found)


def record(intake: RowsIntake, session: SessionRecorder, now: float = 0.0) -> None:
    """Take everything that is in the ring."""
    while intake.do_work(now) or intake.lag:
        pass


def finish(intake: RowsIntake, session: SessionRecorder) -> dict[str, dict[str, Any]]:
    """Take the rest and close."""
    record(intake, session)
    intake.end()
    return session.close()


@pytest.fixture
def rows() -> Iterator[MessageRows]:
    with MessageRows.create(RIG, "T", slots=512) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, rows: MessageRows) -> Path:
    """Return a recording of 300 rows of DATA and 5 of POS, after 3 that were not to be recorded."""
    sent = values(300)
    for number in range(3):
        rows.append("DATA", message({"before": number}))
    session, intake = SessionRecorder(tmp_path / "rec", RIG), RowsIntake(NAME)
    intake.begin(session, 0.0)
    for number, value in enumerate(sent):
        rows.append("DATA", message(value))
        if number % 60 == 0:
            rows.append("POS", message(number, "pilot2.pos"))
        if number % 100 == 0:
            intake.do_work(number)
    finish(intake, session)
    return tmp_path / "rec"


def test_stock_h5py_reads_the_rows(folder: Path) -> None:
    """What README shows: no code of ours, no plugin."""
    sent, found = values(300), []
    with h5py.File(folder / "data" / "DATA_part-000.h5", "r") as file:
        group = file["data/DATA"]
        table, content = group["rows"][:], group["values"][:].tobytes()
        for row in table:
            text_end = row["begin"] + row["text"]
            found.append((json.loads(content[row["begin"] : text_end]), content[text_end : text_end + row["arrays"]]))
        assert "rows" == file.attrs["kind"]
        assert 3 == file.attrs["origin"]

    assert list(range(3, 303)) == table["sequence"].tolist()
    assert np.all(np.diff(table["time_ns"]) >= 0)
    assert [sent[0], sent[2]] == [found[0][0]["value"], found[2][0]["value"]]
    told = found[8][0]["value"]["trace"]["__array__"]
    trace = np.frombuffer(found[8][1][told["at"] :][: told["bytes"]], told["dtype"]).reshape(told["shape"])
    np.testing.assert_array_equal(sent[8]["trace"], trace)


def test_the_example_of_the_readme_runs(folder: Path) -> None:
    """Literally as it stands there."""
    readme = (Path(__file__).parents[2] / "stations" / "README.md").read_text()
    (example,) = [block for block in readme.split("```") if "data/DATA_part-000.h5" in block and "import" in block]

    command = [sys.executable, "-c", example.removeprefix("python")]
    lines = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()

    assert 300 == len(lines)
    assert "4 pilot1.task 1" == lines[1]


def test_rows_are_read_back_as_dicts_in_order(folder: Path) -> None:
    """Every value, sender and attribute, lazily; what came before the recording is not in it."""
    recording = Recording(folder)
    found = list(recording.rows("DATA"))

    assert ["DATA", "POS"] == recording.row_keys
    assert all(same(sent, row["value"]) for sent, row in zip(values(300), found, strict=True))
    assert ("pilot1.task", {"subject": "m1"}) == (found[0]["sender"], found[0]["extra"])
    assert [0, 60, 120, 180, 240] == [row["value"] for row in recording.rows("POS")]
    report = verify(folder)
    assert report.ok, report.lines()
    assert {"data/DATA": 300, "data/POS": 5} == {name: stream.stored for name, stream in report.streams.items()}
    assert json.loads((folder / "session.json").read_text())["streams"]["data/POS"]["files"] == ["data/POS_part-000.h5"]


def bytes_of(path: Path, dataset: str) -> tuple[int, int]:
    """Return offset and length of the first chunk of a dataset."""
    with h5py.File(path, "r") as file:
        chunk = file[f"data/DATA/{dataset}"].id.get_chunk_info(0)
        return int(chunk.byte_offset), int(chunk.size)


@pytest.mark.parametrize("field", ["value", *(name for name in ROW.names or ())])
def test_a_flipped_byte_is_named_by_key_and_row(folder: Path, field: str) -> None:
    """One bit anywhere in a row, of its text or of any of its columns."""
    path, victim = folder / "data" / "DATA_part-000.h5", 41
    with h5py.File(path, "r") as file:
        row = file["data/DATA/rows"][victim]
    if field == "value":
        at = bytes_of(path, "values")[0] + int(row["begin"]) + 5
    else:
        at = bytes_of(path, "rows")[0] + victim * ROW.itemsize + (ROW.fields or {})[field][1]
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)

    report = verify(folder)

    assert not report.ok
    assert victim < ROWS_PER_CHUNK
    assert 3 + victim in [bad.sequence for bad in report.streams["data/DATA"].bad_items]
    assert 2 >= len(report.streams["data/DATA"].bad_items)
    assert any("data/DATA: item 44 in DATA_part-000.h5" in line for line in report.lines()), report.lines()
    assert report.streams["data/POS"].ok


def test_a_killed_recorder_loses_nothing(tmp_path: Path, rows: MessageRows) -> None:
    """What it had read and not flushed is in the ring still; its successor stores every row once."""
    folder = tmp_path / "rec"
    command = [sys.executable, "-c", KILLED, str(folder), RIG, "700"]
    sent = values(1000)
    rows.append("DATA", message("before"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert "ready\n" == killed.stdout.readline()
        for value in sent[:800]:
            rows.append("DATA", message(value))
        killed.wait(60)
    stored = len(list(Recording(folder).rows("DATA")))  # opened as it was left

    session, intake = SessionRecorder(folder, RIG, resume=True), RowsIntake(NAME)
    intake.begin(session, 0.0)
    for value in sent[800:]:
        rows.append("DATA", message(value))
    rows.append("LATE", message("after"))
    account = finish(intake, session)

    assert 0 < stored < 700
    found = list(Recording(folder).rows("DATA"))
    assert list(range(1, 1001)) == [row["sequence"] for row in found]
    assert all(same(value, row["value"]) for value, row in zip(sent, found, strict=True))
    (birth,) = account["data/DATA"]["births"].values()
    assert {"origin": 1, "end": 1001, "stored": 1000, "gaps": []} == birth
    assert 1 == account["data/LATE"]["stored"]
    assert verify(folder).ok, verify(folder).lines()
    assert recover(folder).ok
    with h5py.File(folder / "data" / "DATA_part-000.h5", "r") as file:
        assert stored == len(file["data/DATA/rows"])
    assert verify(folder).ok, verify(folder).lines()


def test_damage_anywhere_is_named_soon_and_never_hangs(tmp_path: Path, rows: MessageRows) -> None:
    """Bits of the HDF5 structure of a file whose writer was killed: HDF5 alone would read such metadata for ever."""
    folder = tmp_path / "rec"
    command = [sys.executable, "-c", KILLED, str(folder), RIG, "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert "ready\n" == killed.stdout.readline()
        for value in values(250):
            rows.append("DATA", message(value))
        killed.wait(60)
    path = folder / "data" / "DATA_part-000.h5"
    whole, began, named = path.read_bytes(), time.monotonic(), 0
    stored = [row["value"] for row in Recording(folder).rows("DATA")]
    for at in (38, *range(5, 4000, 97)):
        content = bytearray(whole)
        content[at] ^= 1
        path.write_bytes(content)
        report = verify(folder)
        if report.ok:
            found = [row["value"] for row in Recording(folder).rows("DATA")]
            assert all(same(sent, value) for sent, value in zip(stored, found, strict=True)), at
        named += not report.ok

    assert named >= 10
    assert time.monotonic() - began < 60


def test_the_file_can_be_read_while_it_is_written(tmp_path: Path, rows: MessageRows) -> None:
    """After each flush another reader sees whole rows."""
    session, intake = SessionRecorder(tmp_path / "rec", RIG), RowsIntake(NAME)
    intake.begin(session, 0.0)
    rows.append("DATA", message(1))
    intake.do_work(1.0)
    intake.do_work(2.0)
    with h5py.File(tmp_path / "rec" / "data" / "DATA_part-000.h5", "r", swmr=True) as file:
        assert 1 == len(file["data/DATA/rows"])
    rows.append("DATA", message(2))
    intake.do_work(3.0)
    intake.do_work(4.0)
    assert [1, 2] == [row["value"] for row in Recording(tmp_path / "rec").rows("DATA")]
    finish(intake, session)


def test_a_new_ring_is_a_new_birth_in_a_new_file(tmp_path: Path) -> None:
    """A Terminal whose ring was lost begins anew; the rows of both are told apart."""
    session, intake = SessionRecorder(tmp_path / "rec", RIG), RowsIntake(NAME)
    for now in (0.0, 10.0):
        with MessageRows.create(RIG, "T", slots=64) as rows:
            if now == 0.0:
                intake.begin(session, now)
            else:
                intake.do_work(now)
            for number in range(5):
                rows.append("DATA", message(number))
            record(intake, session, now)
        intake.do_work(now + 1)
    account = finish(intake, session)

    assert [5, 5] == [row["stored"] for row in account["data/DATA"]["births"].values()]
    assert [*range(5), *range(5)] == [row["value"] for row in Recording(tmp_path / "rec").rows("DATA")]
    assert verify(tmp_path / "rec").ok, verify(tmp_path / "rec").lines()


def test_a_full_disk_ends_the_rows_and_is_accounted_for(
    tmp_path: Path, rows: MessageRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk did not take is a gap with a reason; the rest of the recording goes on."""
    session, intake = SessionRecorder(tmp_path / "rec", RIG), RowsIntake(NAME)
    intake.begin(session, 0.0)
    for number in range(10):
        rows.append("DATA", message(number))
    intake.do_work(1.0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    rows.append("DATA", message(10))
    with monkeypatch.context() as patch:
        patch.setattr("stations.recording.rows_segment.extend", full)
        intake.do_work(2.0)
        intake.do_work(3.0)
    rows.append("DATA", message(11))
    account = finish(intake, session)

    (birth,) = account["data/DATA"]["births"].values()
    assert 12 == birth["stored"] + sum(count for _, count, _ in birth["gaps"])
    assert {"disk"} == {reason for _, _, reason in birth["gaps"]}
    assert verify(tmp_path / "rec").ok, verify(tmp_path / "rec").lines()


def test_a_folder_with_rows_holds_a_recording(tmp_path: Path, folder: Path) -> None:
    """Nothing is recorded over it."""
    (folder / "session.json").unlink()
    with pytest.raises(RecordingFolderError, match="holds a recording already"):
        SessionRecorder(folder, RIG)
