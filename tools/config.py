"""`pipeline config`: look at a rig file without running it."""

from __future__ import annotations

from pathlib import Path

import click

from .table import print_json


@click.group()
def config() -> None:
    """Check rig files."""


@config.command()
@click.argument("rig", type=click.Path(path_type=Path), metavar="RIG.toml")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(rig: Path, as_json: bool) -> None:
    """Read RIG.toml and say what it describes; exit code 2 and one line if something in it is wrong."""
    from stations import load_rig

    found = load_rig(rig)
    streams = {name: entry.source or f"ring {entry.ring}" for _, name, entry in found.streams()}
    if as_json:
        print_json({"rig": found.name, "pilots": sorted(found.pilots), "streams": streams})
        return
    click.echo(f"{rig}: rig {found.name}, {len(found.pilots)} pilots, {len(streams)} streams")
    for name, source in streams.items():
        click.echo(f"  {name:<20} {source}")
