"""Messages into the ring of rows: numbered, never overwritten before they are stored, counted over a restart."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline import Message, UnsendableError
from shm import BlobReader
from stations.errors import RowsFullError, RowTooLargeError, TooManyKeysError
from stations.rows import MAX_KEYS, MessageRows
from stations.rows_ring import READER, Row, RowAssembler, key_name

RIG = f"rowstest{os.getpid()}"
NAME = f"{RIG}/T/rows"

DIES = """
import os, sys
from pipeline import Message
from stations.rows import MessageRows
rows = MessageRows.create(sys.argv[1], "T", slots=64)
for number in range(300):
    rows.append("DATA", Message(id="1", to="T", sender="p", key="DATA", value=number))
    rows.append("ONCE", Message(id="1", to="T", sender="p", key="DATA", value=number)) if number == 3 else None
os._exit(0)
"""


def message(value: Any) -> Message:
    """Return a message as it arrives at the Terminal."""
    made = Message(id="p_1", to="T", sender="pilot1.task", key="DATA", value=value, subject="m1")
    return Message(made.serialize())


def rows_in(reader: BlobReader) -> list[Row]:
    """Return what has not been read yet."""
    assembler = RowAssembler()
    found = []
    while (blob := reader.read(timeout_s=0)) is not None:
        if isinstance(row := assembler.feed(blob.data), Row):
            found.append(row)
    return found


def recorder(start: Any = "oldest") -> BlobReader:
    """Join as the recorder does."""
    return BlobReader.attach(NAME, policy="lossless", reader=READER, start=start)


def fill(rows: MessageRows, number: int) -> int:
    """Append numbers until one is refused; return which."""
    for refused in range(number, number + 1000):
        try:
            rows.append("DATA", message(refused))
        except RowsFullError:
            return refused
    raise AssertionError("the ring never was full")


@pytest.fixture
def rows() -> Iterator[MessageRows]:
    with MessageRows.create(RIG, "T", slots=64, timeout_s=0.05) as made:
        yield made


def test_rows_are_numbered_by_key_and_come_back_whole(rows: MessageRows) -> None:
    """Any value, also arrays larger than a part; sequences are those that `append` returned."""
    image = np.arange(6000, dtype="<f4").reshape(2, -1, 3)
    sent = [("DATA", {"trial": 1}), ("POS", 2.5), ("DATA", {"image": image}), ("DATA", "text"), ("POS", None)]
    with recorder() as reader:
        numbers = [rows.append(key, message(value)) for key, value in sent[:2]]
        found = rows_in(reader)
        numbers += [rows.append(key, message(value)) for key, value in sent[2:3]]
        found += rows_in(reader)
        numbers += [rows.append(key, message(value)) for key, value in sent[3:]]
        found += rows_in(reader)

    assert [0, 0, 1, 2, 1] == numbers
    assert [(key, number) for (key, _), number in zip(sent, numbers, strict=True)] == [
        (row.key, row.sequence) for row in found
    ]
    values = [Message(row.frames, expand_arrays=True).value for row in found]
    np.testing.assert_array_equal(image, values[2]["image"])
    assert [{"trial": 1}, 2.5, "text", None] == values[:2] + values[3:]
    assert "m1" == Message(found[0].frames).subject
    assert {"DATA": 3, "POS": 2} == rows.counts()
    assert {"count": 3, "last": 2} == rows.account()["keys"]["DATA"]


def test_a_full_ring_refuses_and_overwrites_nothing(rows: MessageRows) -> None:
    """A recorder that takes nothing makes the sender fail; what was accepted is all there, and it goes on after."""
    with recorder() as reader:
        accepted = fill(rows, 0)
        found = rows_in(reader)
        assert accepted == rows.append("DATA", message(accepted))
        found += rows_in(reader)

    assert 50 < accepted < 64
    assert list(range(accepted + 1)) == [row.sequence for row in found]
    assert {"full": 1} == rows.account()["refused"]


def test_without_a_recorder_rows_pass_and_are_counted(rows: MessageRows) -> None:
    """Nothing waits while nobody records."""
    for number in range(500):
        rows.append("DATA", message(number))

    assert {"DATA": 500} == rows.counts()


def test_what_a_dead_recorder_had_not_stored_is_kept_until_another_comes() -> None:
    """The entry of a killed reader holds the ring for a while; its successor finds everything, then it flows again."""
    join = f"""
import os
from shm import BlobReader
reader = BlobReader.attach({NAME!r}, policy="lossless", reader={READER!r}, start="oldest")
os._exit(0)
"""
    with MessageRows.create(RIG, "T", slots=64, timeout_s=0.02) as rows:
        rows.append("DATA", message(0))
        subprocess.run([sys.executable, "-c", join], check=True, timeout=60)
        accepted = fill(rows, 1)
        with recorder() as reader:
            found = rows_in(reader)
            for number in range(accepted, 200):
                assert number == rows.append("DATA", message(number))
                found += rows_in(reader)

    assert list(range(200)) == [row.sequence for row in found]


def test_a_recorder_that_stays_away_is_given_up() -> None:
    """After `keep_s` the Terminal works on; the loss is a hole in the sequences."""
    join = f"""
import os
from shm import BlobReader
reader = BlobReader.attach({NAME!r}, policy="lossless", reader={READER!r}, start="oldest")
os._exit(0)
"""
    with MessageRows.create(RIG, "T", slots=64, timeout_s=2.0, keep_s=0.1) as rows:
        subprocess.run([sys.executable, "-c", join], check=True, timeout=60)
        for number in range(200):
            assert number == rows.append("DATA", message(number))


def test_a_terminal_that_comes_back_goes_on_counting() -> None:
    """The ring of a killed Terminal is taken over: same birth, every key's count, though most rows are gone."""
    subprocess.run([sys.executable, "-c", DIES, RIG], check=True, timeout=60)
    with MessageRows.create(RIG, "T", slots=64) as rows, recorder("newest") as reader:
        assert {"DATA": 300, "ONCE": 1} == rows.counts()
        assert 300 == rows.append("DATA", message(0))
        assert 1 == rows.append("ONCE", message(0))
        assert reader.birth == rows.birth
        assert [300, 1] == [row.sequence for row in rows_in(reader)]


def test_another_shape_of_the_ring_begins_anew() -> None:
    """A ring of another description is a new birth, whose keys begin at 0."""
    subprocess.run([sys.executable, "-c", DIES, RIG], check=True, timeout=60)
    with MessageRows.create(RIG, "T", slots=128) as rows:
        assert {} == rows.counts()
        assert 0 == rows.append("DATA", message(0))


def test_what_is_no_row_is_refused_and_takes_no_number(rows: MessageRows) -> None:
    """Too large, unsendable, one key too many: the error says so, and the next row has the next number."""
    with pytest.raises(RowTooLargeError, match="use a stream"):
        rows.append("DATA", message(np.zeros(rows.max_bytes, "u1")))
    with pytest.raises(UnsendableError):
        rows.append("DATA", Message(id="1", to="T", sender="p", key="DATA", value=object()))
    for number in range(MAX_KEYS):
        rows.append(f"k{number}", message(number))
    with pytest.raises(TooManyKeysError):
        rows.append("DATA", message(0))

    assert 1 == rows.append("k0", message(1))
    assert {"too_large": 1, "keys": 1} == rows.account()["refused"]


def test_threads_append_without_a_hole() -> None:
    """Eight threads, one recorder: every key's rows are numbered in the order of the ring."""
    with MessageRows.create(RIG, "T", slots=256, timeout_s=5.0) as rows, recorder() as reader:
        threads = [
            threading.Thread(target=lambda key=key: [rows.append(key, message(n)) for n in range(300)])
            for key in ("A", "B", "C", "D") * 2
        ]
        for thread in threads:
            thread.start()
        found: list[Row] = []
        deadline = time.monotonic() + 30
        while len(found) < 2400 and time.monotonic() < deadline:
            found += rows_in(reader)
        for thread in threads:
            thread.join()

    for key in "ABCD":
        assert list(range(600)) == [row.sequence for row in found if row.key == key]


def test_keys_get_names_that_files_can_have() -> None:
    """Letters, digits, - and _ stay; all else is _."""
    assert ["DATA", "a_b-c_1", "__", "_", "x" * 60] == [
        key_name(key) for key in ("DATA", "a/b-c.1", "..", "", "x" * 80)
    ]
