"""`pipeline clean`: remove what dead processes left in shared memory."""

from __future__ import annotations

import click

from .table import print_json


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, remove nothing.")
@click.option("--rig", metavar="NAME", help="Only segments of this rig.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def clean(dry_run: bool, rig: str | None, as_json: bool) -> None:
    """Remove shared memory that no living process holds.

    Only segments of this user whose writer and readers are all gone are removed; everything else is listed with the
    reason why it stays.  Safe to run while a rig runs.
    """
    from shm import clean as clean_segments

    report = clean_segments(dry_run=dry_run, rig=rig)
    removed = [str(name) for name in report.removed]
    kept = [{"name": str(name), "why": str(why)} for name, why in report.kept]
    vanished = [{"name": str(orphan.full_name), "pids": list(orphan.pids)} for orphan in report.orphans]
    if as_json:
        print_json({"dry_run": dry_run, "removed": removed, "kept": kept, "vanished": vanished})
        return
    for name in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {name}")
    for entry in kept:
        click.echo(f"kept {entry['name']}: {entry['why']}")
    for orphan in report.orphans:
        click.echo(f"vanished {orphan.full_name}: {orphan}")
    click.echo(f"{len(removed)} {'to remove' if dry_run else 'removed'}, {len(kept)} kept")
