"""`pipeline bench`: how fast this machine moves items, beside what it could do at best."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tools.extras import require_extra
from tools.table import print_json, print_table

COLUMNS = ("name", "value", "unit", "baseline", "ratio", "floor", "holds", "min", "max")


@click.group()
def bench() -> None:
    """Measure this machine."""


@bench.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    default=0.2,
    show_default=True,
    metavar="S",
    help="Length of one measurement; there are about forty in a repeat.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Medians are over these.")
@click.option("--peers", is_flag=True, help="Measure iceoryx2 and ezmsg too, if they are installed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def ring(seconds: float, repeats: int, peers: bool, as_json: bool) -> None:
    """Move items through rings, in turns with np.copyto, pyzmq and what the standard library offers.

    Writers and readers are processes.  Every item is checked on arrival.
    """
    from .measure import measure
    from .transport import NEEDS, missing

    absent = missing() if peers else list(NEEDS)
    if peers and absent:
        click.echo(f"not installed, so not measured: {', '.join(absent)}", err=True)
    rows = [asdict(row) for row in measure(seconds, repeats, absent, report=lambda line: click.echo(line, err=True))]
    _print(rows, as_json)


@bench.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    default=0.3,
    show_default=True,
    metavar="S",
    help="Length of one measurement; there are four in a pair.",
)
@click.option("--pairs", type=click.IntRange(min=1), default=20, show_default=True, help="Medians are over these.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def viewer(seconds: float, pairs: int, as_json: bool) -> None:
    """Write beside a viewer that has stopped, and alone, in turns: it must cost the writer nothing."""
    from .viewer import measure_viewer

    _print([asdict(row) for row in measure_viewer(pairs, seconds, lambda line: click.echo(line, err=True))], as_json)


@bench.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Length of one measurement; there are five in a repeat.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Medians are over these.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def control(seconds: float, repeats: int, as_json: bool) -> None:
    """Send messages through a station, in turns with raw ROUTER and DEALER sockets.

    Sender, station and receiver are three processes on loopback TCP.
    """
    from .control import measure_control

    _print([asdict(row) for row in measure_control(seconds, repeats, lambda line: click.echo(line, err=True))], as_json)


@bench.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    default=1.5,
    show_default=True,
    metavar="S",
    help="Length of one measurement; there are nine in a repeat.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Medians are over these.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR", help="Record below DIR."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def forward(seconds: float, repeats: int, folder: Path | None, as_json: bool) -> None:
    """Bring images from a Pilot to a Terminal, in turns with raw sockets, compressing alone and writing alone.

    640 x 480 x 3 images like a camera's, over loopback TCP.
    """
    require_extra("terminal", "recording")
    from .forward import measure_forward

    rows = measure_forward(seconds, repeats, folder, lambda line: click.echo(line, err=True))
    _print([asdict(row) for row in rows], as_json)


@bench.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Medians are over these.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR", help="Record below DIR."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def read(repeats: int, folder: Path | None, as_json: bool) -> None:
    """Read images of 1920 x 1080 x 3 from a recording, one after the other."""
    require_extra("terminal", "reading recordings")
    from .read import measure_read

    _print([asdict(row) for row in measure_read(repeats, folder, lambda line: click.echo(line, err=True))], as_json)


@bench.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    default=1.5,
    show_default=True,
    metavar="S",
    help="Length of one measurement; there are eight in a repeat.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Medians are over these.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR", help="Record below DIR."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def record(seconds: float, repeats: int, folder: Path | None, as_json: bool) -> None:
    """Record blocks out of a ring, in turns with a plain loop that writes and syncs the same bytes.

    640 x 480 x 3 images like a camera's, raw and compressed, and 32 channels at 30 kHz; what 60 MB/s cost.
    """
    require_extra("terminal", "recording")
    from .record import measure_record

    rows = measure_record(seconds, repeats, folder, lambda line: click.echo(line, err=True))
    _print([asdict(row) for row in rows], as_json)


def _print(rows: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS)
