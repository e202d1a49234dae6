"""`pipeline verify` and `pipeline recover`: is a recording whole, and can any tool open it."""

from __future__ import annotations

from pathlib import Path

import click

from . import exits
from .extras import require_extra
from .table import print_json

PURPOSE = "reading recordings"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(directory: Path, as_json: bool) -> int:
    """Check every item of the recording in DIR.

    Counts against what the sources produced, sequences, checksums, and the self-checks that synthetic items carry.
    Exit code 3 if anything is missing that the recording cannot explain.
    """
    require_extra("terminal", PURPOSE)
    from stations.recording import verify as verify_recording

    report = verify_recording(directory)
    if as_json:
        print_json(report.to_json())
    else:
        click.echo("\n".join(report.lines()))
    return exits.OK if report.ok else exits.UNBALANCED


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def recover(directory: Path, as_json: bool) -> int:
    """Make the files in DIR, whose writer was killed, open plainly in any HDF5 tool."""
    require_extra("terminal", PURPOSE)
    from stations.recording import recover as recover_recording

    report = recover_recording(directory)
    if as_json:
        print_json(report.to_json())
    else:
        click.echo("\n".join(report.lines()))
    return exits.OK
