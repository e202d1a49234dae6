"""`pipeline export`: a recording in the formats of others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from . import exits
from .duration import seconds
from .extras import require_extra
from .table import print_json

NAMES: Final = ("nwb", "mcap", "zarr", "hdf5", "csv", "wav", "mp4")
PHASES: Final = {"check": "Checking", "write": "Writing", "verify": "Reading again"}


@click.command()
@click.argument("recording", type=click.Path(path_type=Path), metavar="RECORDING")
@click.option("--format", "format_name", type=click.Choice(NAMES), required=True, help="What to write.")
@click.option("--stream", "streams", multiple=True, metavar="S", help="Only this stream; may be given again.")
@click.option("--output", type=click.Path(path_type=Path), metavar="PATH", help="File or folder to make.")
@click.option("--from", "from_s", type=seconds, default="0", metavar="TIME", help="Begin there: 10s, 2m, 1h, 500ms.")
@click.option("--to", "to_s", type=seconds, metavar="TIME", help="End there, since the recording's first item.")
@click.option("--verify", is_flag=True, help="Read the result again; compare counts and checksums.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(
    *,
    recording: Path,
    format_name: str,
    streams: tuple[str, ...],
    output: Path | None,
    from_s: float,
    to_s: float | None,
    verify: bool,
    as_json: bool,
) -> int:
    """Write RECORDING in another format, beside it if no --output is given.

    nwb, mcap (Foxglove), zarr, hdf5 (no filters: MATLAB reads it) hold all streams; csv tables and wav files samples;
    mp4 films images and is lossy, all others are bit for bit.  Interrupted, the same command goes on.  Exit code 3 if
    something is damaged or differs: it is named, the rest is there.
    """
    require_extra("terminal", "reading recordings")
    from stations.export import Window
    from stations.export import export as export_recording

    window = Window(from_s, to_s)
    with _progress() as progress:
        report = export_recording(
            recording, format_name, output, streams=streams, window=window, verify=verify, progress=progress
        )
    if as_json:
        print_json(report.to_json())
    else:
        click.echo("\n".join(report.lines()))
    return exits.OK if report.ok else exits.UNBALANCED


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Draw a bar for each phase on stderr, where somebody looks at it."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:14}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(PHASES[phase], total=total)
            bars.update(tasks[phase], completed=done)

        yield show
