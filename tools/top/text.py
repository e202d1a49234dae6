"""Rows as text: cells of the table, the plain table, CSV and JSON.  Unknown is "-", never 0."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from .rows import Row
from .sample import Sample

SCHEMA: Final = 1
"""Version of the JSON objects; grows when a field changes its meaning or goes."""
UNKNOWN: Final = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table."""

    key: str
    """Name for `--sort`, in CSV and JSON."""
    title: str
    cell: Callable[[Row], str]
    is_number: bool = True
    """Numbers stand to the right."""


def per_second(value: float | None) -> str:
    """Return a rate: three figures, thousands as k."""
    if value is None:
        return UNKNOWN
    if value >= 1000:
        return f"{value / 1000:.2f}k"
    return f"{value:.1f}"


def seconds(value: float | None) -> str:
    """Return a duration in ms, s, min or h."""
    if value is None:
        return UNKNOWN
    if abs(value) < 1.0:
        return f"{round(value * 1e3)} ms"
    if abs(value) < 100.0:
        return f"{value:.1f} s"
    if abs(value) < 6000.0:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def size(value: float | None) -> str:
    """Return bytes as MiB or GiB."""
    if value is None:
        return UNKNOWN
    return (
        f"{value / 2**30:.2f}G"
        if value >= 2**30
        else f"{value / 2**20:.0f}M"
        if value >= 2**20
        else f"{value / 1024:.0f}K"
    )


def percent(value: float | None) -> str:
    """Return a share of one as percent."""
    return UNKNOWN if value is None else f"{value * 100:.0f}"


def drops(row: Row) -> str:
    """Return the losses by reason, "0" when nothing was lost."""
    return ", ".join(f"{count} {reason}" for reason, count in row.drops.items()) or "0"


def lag(row: Row) -> str:
    """Return the lag in slots of each living reader that wants everything, the slowest first; "-" without one."""
    wanting = (reader for reader in row.readers if reader.state != "dead" and reader.policy != "latest")
    living = sorted(wanting, key=lambda reader: -reader.lag)
    return ", ".join(f"{reader.lag} {short(reader.name)}" for reader in living) or UNKNOWN


def short(name: str) -> str:
    """Return the last part of an address: "recorder" of "T.recorder"."""
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[-1]


COLUMNS: Final = (
    Column("stream", "STREAM", lambda row: row.stream, is_number=False),
    Column("state", "STATE", lambda row: row.state, is_number=False),
    Column("shape", "SHAPE/DTYPE", lambda row: f"{row.shape} {row.dtype}".strip(), is_number=False),
    Column("hz", "HZ", lambda row: per_second(row.hz)),
    Column("target", "TARGET", lambda row: per_second(row.target)),
    Column("mb_s", "MB/s", lambda row: UNKNOWN if row.bytes_per_s is None else f"{row.bytes_per_s / 1e6:.2f}"),
    Column("age", "AGE", lambda row: seconds(row.age_s)),
    Column("lag", "LAG", lag, is_number=False),
    Column("drops", "DROPS", drops, is_number=False),
    Column("occ", "OCC%", lambda row: percent(row.occupancy)),
    Column("readers", "RDRS", lambda row: str(len(row.readers))),
    Column("writer", "WRITER", lambda row: f"{row.pid} {row.process}", is_number=False),
    Column("cpu", "CPU%", lambda row: percent(row.cpu)),
    Column("mem", "MEM", lambda row: size(row.memory)),
)


def table(rows: Sequence[Row], *, readers: bool = False) -> list[str]:
    """Return the rows as aligned lines under a heading.

    Args:
        rows: in the order of the table.
        readers: a line under each stream for each of its readers.
    """
    texts = [[column.cell(row) for column in COLUMNS] for row in rows]
    widths = [max([len(column.title), *(len(text[i]) for text in texts)]) for i, column in enumerate(COLUMNS)]
    lines = [_aligned([column.title for column in COLUMNS], widths)]
    for row, text in zip(rows, texts, strict=True):
        lines.append(_aligned(text, widths))
        lines += [f"  {line}" for line in reader_lines(row)] if readers else []
    return lines


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if column.is_number else cell.ljust(width)
        for cell, width, column in zip(cells, widths, COLUMNS, strict=True)
    )
    return "  ".join(padded).rstrip()


def reader_lines(row: Row) -> list[str]:
    """Return a line for each reader of a stream."""
    return [
        f"{reader.name}  {reader.policy}  pid {reader.pid}  {reader.state}  lag {reader.lag} ({seconds(reader.lag_s)})"
        f"  lapped {reader.lapped}  skipped {reader.skipped}  torn {reader.torn}"
        for reader in row.readers
    ]


def summary(sample: Sample, rows: Sequence[Row]) -> str:
    """Return the line above the table."""
    known = [row.bytes_per_s for row in rows if row.bytes_per_s is not None]
    bad = [row for row in rows if row.is_unhealthy]
    used = sample.shm_total - sample.shm_free
    lost = sum(sum(row.drops.values()) for row in rows)
    return (
        f"{len(rows)} streams  {len(bad)} unhealthy  {sum(known) / 1e6:.1f} MB/s  "
        f"{lost} dropped  /dev/shm {size(used)} of {size(sample.shm_total)} used"
    )


def as_json(sample: Sample, rows: Sequence[Row]) -> str:
    """Return one JSON object on one line: SI numbers, unknown is null."""
    streams = [{**asdict(row), "is_unhealthy": row.is_unhealthy} for row in rows]
    return json.dumps(
        {
            "schema": SCHEMA,
            "time_ns": sample.time_ns,
            "shm_total": sample.shm_total,
            "shm_free": sample.shm_free,
            "streams": streams,
        },
        allow_nan=False,
    )


CSV_FIELDS: Final = (
    *("time_ns", "stream", "state", "shape", "dtype", "hz", "target", "bytes_per_s", "age_s", "lag", "dropped"),
    *("drops_per_s", "occupancy", "readers", "slots", "bytes", "pid", "process", "cpu", "memory"),
)


def as_csv(sample: Sample, rows: Sequence[Row], *, heading: bool) -> str:
    """Return the rows as CSV lines, SI numbers, unknown left empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_FIELDS, extrasaction="ignore", lineterminator="\n")
    if heading:
        writer.writeheader()
    for row in rows:
        values = asdict(row)
        values |= {"time_ns": sample.time_ns, "dropped": sum(row.drops.values()), "readers": len(row.readers)}
        writer.writerow(values)
    return out.getvalue().rstrip("\n")
