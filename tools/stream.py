"""`pipeline stream`: the rings of this machine, read from shared memory, disturbing nobody.

Everything here is an observer: it maps a ring read-only and never enters its reader table, so it works while every
other process hangs, and no writer ever waits for it.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .ledger import Ledger, ledger_of
from .table import cell, print_json, print_table

if TYPE_CHECKING:
    from shm import RingObserver, SegmentInfo

COLUMNS = ("stream", "holds", "shape", "dtype", "slots", "published", "readers", "MiB", "writer", "alive")
LOOKS = 3
PAUSE_S = 0.3
"""Between two looks at a ledger that does not balance."""
READER_COLUMNS = ("name", "policy", "state", "lag", "lapped", "skipped", "torn", "pid", "is_alive")


@click.group()
def stream() -> None:
    """List and look at the streams in this machine's shared memory."""


@stream.command("list")
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a ring.")
def list_(prefix: str, as_json: bool) -> None:
    """List the rings of this machine, or those whose name begins with PREFIX."""
    from shm import list_segments

    found = [ring_row(segment) for segment in list_segments(prefix) if segment.kind == "ring"]
    if as_json:
        print_json(found)
    elif found:
        print_table([{**row, **shown(row)} for row in found], COLUMNS)
    else:
        click.echo(f"no rings whose name begins with {prefix}" if prefix else "no rings on this machine")


@stream.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(name: str, as_json: bool) -> int:
    """Show what the ring NAME holds, who reads it, and what became of its items if they are recorded.

    Exit code 3 if the account of its items does not balance, 4 if it is over and some wait in a Pilot's spool.
    """
    attach(name).close()  # says it best when there is none
    segment, ledger = look(name)
    for _ in range(LOOKS):
        if ledger is None or ledger.balanced:
            break
        time.sleep(PAUSE_S)  # it may have been read while it was being written
        segment, ledger = look(name)
    row = ring_row(segment)
    row["ledger"] = {**asdict(ledger), "balanced": ledger.balanced} if ledger is not None else None
    code = ledger.exit_code if ledger is not None else exits.OK
    if as_json:
        print_json(row)
        return code
    for key, value in row.items():
        if key not in ("readers", "meta", "problem", "ledger"):
            click.echo(f"{key:<13} {cell(value)}")
    if ledger is not None:
        click.echo(f"{'ledger':<13} {ledger}")
    for key, value in row["meta"].items():
        click.echo(f"{key:<13} {cell(value)}")
    if row["readers"]:
        click.echo()
        print_table(row["readers"], READER_COLUMNS)
    return code


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
    with attach(name) as ring:
        items, spent = count_published(ring, window)
    if as_json:
        print_json({"stream": name, "items": items, "seconds": spent, "hz": items / spent})
    else:
        click.echo(f"{name}: {items / spent:.2f} Hz ({items} items in {spent:.2f} s)")


def look(name: str) -> tuple[SegmentInfo, Ledger | None]:
    """Return a ring as it is now, and the ledger of its stream if somebody records it."""
    from shm import list_segments

    counts = recorder_counts(name)
    segment = next(found for found in list_segments(name) if found.full_name == name and found.kind == "ring")
    return segment, ledger_of(name.partition("/")[2], segment.ring, counts) if segment.ring is not None else None


def recorder_counts(name: str) -> dict[str, int]:
    """Return what the recorders of a ring's rig count; of a stream that two record, what the Terminal's does."""
    from shm import Counters, ShmError, list_segments

    found: dict[str, int] = {}
    own = f"{name.partition('.')[0]}.recorder"
    for segment in sorted(list_segments(f"{name.partition('/')[0]}/"), key=lambda segment: segment.full_name != own):
        if segment.kind == "counters" and segment.full_name.endswith(".recorder"):
            try:
                with Counters.attach(segment.full_name) as counters:
                    found |= counters.read()
            except ShmError:  # removed between the two looks
                continue
    return found


def attach(name: str) -> RingObserver:
    """Return an observer of a ring by its full name."""
    from shm import RingObserver

    return RingObserver.attach(name)


def count_published(ring: RingObserver, window_s: float) -> tuple[int, float]:
    """Return how many items were published during some seconds, and how many seconds it really were."""
    begin, first = time.monotonic(), ring.published
    time.sleep(window_s)
    return ring.published - first, time.monotonic() - begin


def ring_row(segment: SegmentInfo) -> dict[str, Any]:
    """Return what the registry knows of a ring as plain values; of a ring that cannot be read, little."""
    row: dict[str, Any] = {
        "stream": segment.full_name or segment.segment_name,
        "bytes": segment.bytes,
        "writer": segment.writer_pid or None,
        "alive": segment.writer_alive,
        "age_s": segment.age_s,
        "problem": segment.problem,
        "readers": [],
        "meta": {},
    }
    if segment.ring is not None:
        ring = segment.ring
        holds = "blocks" if ring.is_blob else "items"
        row |= {"holds": holds, "shape": list(ring.shape), "dtype": ring.dtype, "slots": ring.slots}
        row |= {"published": ring.published, "newest_age_s": ring.newest_age_s, "epoch": ring.epoch}
        row |= {"birth": f"{ring.birth:016x}", "ended": ring.ended, "meta": ring.meta}
        row["readers"] = [asdict(reader) for reader in ring.readers]
    return row


def shown(row: dict[str, Any]) -> dict[str, object]:
    """Return what a ring's row shows in a table in place of plain values."""
    shape = "x".join(map(str, row.get("shape", ()))) if row.get("holds") == "items" else None
    dtype = row.get("dtype") if row.get("holds") == "items" else None
    return {"shape": shape, "dtype": dtype, "readers": len(row["readers"]), "MiB": row["bytes"] / 2**20}
