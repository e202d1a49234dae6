"""`pipeline salvage`: what a dead rig left in shared memory becomes a recording."""

from __future__ import annotations

from pathlib import Path

import click

from . import exits
from .extras import require_extra
from .table import print_json


@click.command()
@click.argument("rig")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder in which the recording gets a folder of its own; 'recordings' if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def salvage(rig: str, output: Path | None, as_json: bool) -> int:
    """Record what the rings of RIG still hold after it died.

    Shared memory keeps the last seconds of every stream until `pipeline clean`, the next boot, or the next start of
    the rig.  Nothing is changed there.  What was overwritten is marked as gaps (lapped).  Exit code 3 if something
    there cannot be read; 2 if the rig runs.
    """
    require_extra("terminal", "recording")
    from stations.salvage import salvage_rig

    report = salvage_rig(rig, output, lambda line: click.echo(line, err=True))
    if as_json:
        print_json(report.to_json())
    else:
        click.echo("\n".join(report.lines()))
    return exits.OK if report.ok else exits.UNBALANCED
