"""What pipeline-top prints, and the exit code that it ends with."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from tools.top.cli import NOTHING, OK, UNHEALTHY, watch
from tools.top.rows import Row, rows_of, select
from tools.top.sample import ProcessSample, ReaderSample, RingSample, Sample
from tools.top.text import COLUMNS, as_csv, as_json, seconds, size, summary, table

SECOND = 1_000_000_000
NOW = 1000 * SECOND
SIGNAL = RingSample(
    name="demo/pilot1.ephys",
    holds="items",
    birth=1,
    slots=90_112,
    bytes=6 * 2**20,
    shape=(32,),
    dtype="int16",
    item_bytes=64,
    published=300_000,
    newest_ns=NOW - SECOND // 50,
    writer_pid=42,
    writer_alive=True,
    ended=False,
    target_hz=30_000.0,
    readers=(ReaderSample("pilot1.forward", "lossless", 40, alive=True, position=299_000),),
)
SHY = RingSample(
    name="cam",
    holds="items",
    birth=2,
    slots=4,
    bytes=4096,
    shape=(),
    dtype="float32",
    item_bytes=4,
    published=0,
    newest_ns=None,
    writer_pid=43,
    writer_alive=True,
    ended=False,
)


def samples(*rings: RingSample) -> tuple[Sample, Sample]:
    """Return two samples a second apart; 30 000 items were published in every ring that has as many."""
    earlier = tuple(replace(ring, published=max(0, ring.published - 30_000)) for ring in rings)
    processes = {42: ProcessSample(42, 1.0, 30 * 2**20, "running")}
    before = Sample(NOW - SECOND, earlier, processes, 2**30, 2**29)
    return before, replace(before, time_ns=NOW, rings=rings)


def rows(*rings: RingSample) -> list[Row]:
    """Return the rows of `samples`."""
    return rows_of(*samples(*rings))


def test_table_says_everything_about_a_stream_in_a_line() -> None:
    """The whole text, so that a change of a column is seen in a review."""
    heading, shy, signal = table(rows(SIGNAL, SHY))

    assert [column.title for column in COLUMNS] == heading.split()
    assert "demo/pilot1.ephys run 32 int16 30.00k 30.00k 1.92 20 ms 1000 forward 0 1 1 42 running 0 30M" == " ".join(
        signal.split()
    )
    assert "cam wait scalar float32 0.0 - 0.00 - - 0 - 0 43 gone - -" == " ".join(shy.split())


def test_readers_stand_below_their_stream() -> None:
    """Lag in slots and in seconds, losses of each kind."""
    lines = table(rows(SIGNAL), readers=True)

    assert "pilot1.forward  lossless  pid 40  read  lag 1000 (33 ms)  lapped 0  skipped 0  torn 0" == lines[2].strip()


def test_json_is_one_line_of_si_numbers_with_null_for_unknown() -> None:
    """Programs read this; `schema` says which shape it has."""
    after = samples(SIGNAL, SHY)[1]

    shown = json.loads(as_json(after, rows(SIGNAL, SHY)))

    assert 1 == shown["schema"]
    shy, signal = shown["streams"]
    assert (30_000.0, 1_920_000.0, False) == (signal["hz"], signal["bytes_per_s"], signal["is_unhealthy"])
    assert (None, None, []) == (shy["age_s"], shy["cpu"], shy["readers"])


def test_csv_has_its_heading_once_and_nothing_for_unknown() -> None:
    """A spreadsheet can read an hour of it."""
    after = samples(SIGNAL, SHY)[1]
    shown = rows(SIGNAL, SHY)

    text = as_csv(after, shown, heading=True) + "\n" + as_csv(after, shown, heading=False)

    parsed = list(csv.DictReader(io.StringIO(text)))
    assert ["cam", "demo/pilot1.ephys"] * 2 == [row["stream"] for row in parsed]
    assert "" == parsed[0]["age_s"]


def test_summary_tells_the_room_left() -> None:
    """Rings that do not fit are the first trouble of a new rig."""
    after = samples(SIGNAL)[1]

    assert "1 streams  0 unhealthy  1.9 MB/s  0 dropped  /dev/shm 512M of 1.00G used" == summary(after, rows(SIGNAL))


@pytest.mark.parametrize(
    ("rings", "code"), [((), NOTHING), ((SIGNAL,), OK), ((replace(SIGNAL, writer_alive=False),), UNHEALTHY)]
)
def test_exit_code_is_that_of_the_last_table(rings: tuple[RingSample, ...], code: int) -> None:
    """0 well, 1 nothing there, 3 somebody should look: usable in cron."""
    coming = iter(samples(*rings))
    shown: list[list[Row]] = []
    waits: list[float] = []

    ended = watch(
        lambda: next(coming), select, lambda _, rows: shown.append(rows), times=1, interval_s=0.5, sleep=waits.append
    )

    assert code == ended
    assert ([0.5], 1) == (waits, len(shown))


def test_numbers_are_short() -> None:
    """Three figures and a unit; unknown is a dash."""
    assert ["-", "20 ms", "3.2 s", "5 min", "2.0 h"] == [seconds(value) for value in (None, 0.02, 3.21, 310, 7200)]
    assert ["-", "4K", "30M", "1.50G"] == [size(value) for value in (None, 4096, 30 * 2**20, 1.5 * 2**30)]
