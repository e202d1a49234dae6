"""`pipeline bench`: how fast this machine moves items, beside what it could do at best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools.extras import require_extra
from tools.table import print_json, print_table

from .options import FOLDER, bench_options

if TYPE_CHECKING:
    from .rows import Row

COLUMNS = ("name", "value", "unit", "baseline", "ratio", "floor", "holds", "min", "max")


@click.group()
def bench() -> None:
    """Measure this machine."""


@bench.command()
@bench_options(
    click.option("--peers", is_flag=True, help="Measure iceoryx2 and ezmsg too, if they are installed."),
    seconds=0.2,
    of="there are about forty in a repeat",
)
def ring(*, seconds: float, repeats: int, peers: bool, as_json: bool) -> None:
    """Move items through rings, in turns with np.copyto, pyzmq and what the standard library offers.

    Writers and readers are processes.  Every item is checked on arrival.
    """
    from .measure import measure
    from .transport import NEEDS, missing

    absent = missing() if peers else list(NEEDS)
    if peers and absent:
        _tell(f"not installed, so not measured: {', '.join(absent)}")
    _print(measure(seconds, repeats, absent, report=_tell), as_json)


@bench.command()
@bench_options(seconds=0.3, of="there are four in a pair", repeats=20, each="pairs")
def viewer(*, seconds: float, pairs: int, as_json: bool) -> None:
    """Write beside a viewer that has stopped, and alone, in turns: it must cost the writer nothing."""
    from .viewer import measure_viewer

    _print(measure_viewer(pairs, seconds, _tell), as_json)


@bench.command()
@bench_options(seconds=1.0, of="there are five in a repeat")
def control(*, seconds: float, repeats: int, as_json: bool) -> None:
    """Send messages through a station, in turns with raw ROUTER and DEALER sockets.

    Sender, station and receiver are three processes on loopback TCP.
    """
    from .control import measure_control

    _print(measure_control(seconds, repeats, _tell), as_json)


@bench.command()
@bench_options(FOLDER, seconds=1.5, of="there are nine in a repeat")
def forward(*, seconds: float, repeats: int, folder: Path | None, as_json: bool) -> None:
    """Bring images from a Pilot to a Terminal, in turns with raw sockets, compressing alone and writing alone.

    640 x 480 x 3 images like a camera's, over loopback TCP.
    """
    require_extra("terminal", "recording")
    from .forward import measure_forward

    _print(measure_forward(seconds, repeats, folder, _tell), as_json)


@bench.command()
@bench_options(FOLDER)
def read(*, repeats: int, folder: Path | None, as_json: bool) -> None:
    """Read images of 1920 x 1080 x 3 from a recording, one after the other."""
    require_extra("terminal", "reading recordings")
    from .read import measure_read

    _print(measure_read(repeats, folder, _tell), as_json)


@bench.command()
@bench_options(FOLDER, seconds=1.5, of="there are eight in a repeat")
def record(*, seconds: float, repeats: int, folder: Path | None, as_json: bool) -> None:
    """Record blocks out of a ring, in turns with a plain loop that writes and syncs the same bytes.

    640 x 480 x 3 images like a camera's, raw and compressed, and 32 channels at 30 kHz; what 60 MB/s cost.
    """
    require_extra("terminal", "recording")
    from .record import measure_record

    _print(measure_record(seconds, repeats, folder, _tell), as_json)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _print(rows: Iterable[Row], as_json: bool) -> None:
    plain = [asdict(row) for row in rows]
    if as_json:
        print_json(plain)
    else:
        print_table(plain, COLUMNS)
