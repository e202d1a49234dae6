"""`pipeline stream`: the rings of this machine, read from shared memory, disturbing nobody.

Everything here is an observer: it maps a ring read-only and never enters its reader table, so it works while every
other process hangs, and no writer ever waits for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from .table import cell, print_json, print_table

if TYPE_CHECKING:
    from shm import RingObserver, SegmentInfo

COLUMNS = ("stream", "holds", "shape", "dtype", "slots", "published", "MiB", "writer", "alive")


@click.group()
def stream() -> None:
    """List and look at the streams in this machine's shared memory."""


def row_of(segment: SegmentInfo) -> dict[str, Any]:
    """Return what the registry knows of one ring, as `list` and `info` show it."""
    return {
        "stream": segment.full_name,
        "kind": segment.kind,
        "bytes": segment.bytes,
        "writer": segment.writer_pid,
        "alive": segment.writer_alive,
    }


@stream.command("list")
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a ring.")
def list_(prefix: str, as_json: bool) -> None:
    """List the rings of this machine, or those whose name begins with PREFIX."""
    from shm import list_segments

    rows = [row_of(segment) for segment in list_segments(prefix) if segment.kind == "ring"]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([{**row, "MiB": row["bytes"] / 2**20} for row in rows], COLUMNS)
    else:
        click.echo("no rings" + (f" whose name begins with {prefix}" if prefix else " on this machine"))


@stream.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(name: str, as_json: bool) -> None:
    """Show what the ring NAME holds, and who reads it."""
    from shm import RingObserver, list_segments

    with RingObserver.attach(name) as ring:
        rows = [row_of(segment) for segment in list_segments(name) if segment.full_name == name]
        found = {**(rows[0] if rows else {}), "readers": list(ring.readers())}
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        if key != "readers":
            click.echo(f"{key:<12} {cell(value)}")


@stream.command()
@click.argument("name")
@click.option(
    "--window",
    "-w",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds over which items are counted.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def hz(name: str, window: float, as_json: bool) -> None:
    """Measure how many items a second the ring NAME is given."""
    from shm import RingObserver

    with RingObserver.attach(name) as ring:
        items, spent = count_published(ring, window)
    if as_json:
        print_json({"stream": name, "items": items, "seconds": spent, "hz": items / spent})
    else:
        click.echo(f"{name}: {items / spent:.2f} Hz ({items} items in {spent:.2f} s)")


def count_published(ring: RingObserver, window_s: float) -> tuple[int, float]:
    """Return how many items were published during some seconds, and how many seconds it really were."""
    begin, first = time.monotonic(), ring.published
    time.sleep(window_s)
    return ring.published - first, time.monotonic() - begin
