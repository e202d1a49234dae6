"""`pipeline verify` and `pipeline recover`: is a recording whole, and can any tool open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import exits
from .extras import require_extra
from .table import print_json

if TYPE_CHECKING:
    from stations.recording import RecoverReport, Report

PURPOSE = "reading recordings"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(directory: Path, as_json: bool) -> int:
    """Check every item of the recording in DIR.

    Counts against what the sources produced, sequences, checksums, and the self-checks that synthetic items carry.
    Exit code 3 if anything is wrong, or missing without an explanation; 4 if what is missing waits in a Pilot's spool
    and comes when the rig runs again.
    """
    require_extra("terminal", PURPOSE)
    from stations.recording import verify as verify_recording

    report = verify_recording(directory)
    return _tell(report, as_json) or (exits.PENDING if report.pending else exits.OK)


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def recover(path: Path, as_json: bool) -> int:
    """Make the files of a killed recorder open in any HDF5 tool.

    DIR is a recording's folder, or one of its files.  Nobody may be recording there.  Each file is replaced only once
    its copy is on the disk; exit code 3 if one cannot be read at all.
    """
    require_extra("terminal", PURPOSE)
    from stations.recording import recover as recover_recording

    return _tell(recover_recording(path), as_json)


def _tell(report: Report | RecoverReport, as_json: bool) -> int:
    if as_json:
        print_json(report.to_json())
    else:
        click.echo("\n".join(report.lines()))
    return exits.OK if report.ok else exits.UNBALANCED
