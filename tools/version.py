"""What `--version` says: the number, and whether the four packages are really ours.

The packages have plain top-level names.  Another distribution that ships a package of the same name overwrites ours
without a word from pip; here it is found.
"""

from __future__ import annotations

from importlib import metadata
from typing import Final

import click

from . import exits
from .extras import DISTRIBUTION

PACKAGES: Final = ("shm", "pipeline", "stations", "tools")
"""Our top-level packages, lowest layer first."""


def intruders() -> dict[str, list[str]]:
    """Return the distributions other than ours that claim to provide one of our packages, by package."""
    owners = metadata.packages_distributions()
    strangers = {package: sorted(set(owners.get(package, ())) - {DISTRIBUTION}) for package in PACKAGES}
    return {package: others for package, others in strangers.items() if others}


def version_lines() -> list[str]:
    """Return the lines that `--version` prints."""
    owners = metadata.packages_distributions()
    lines = [f"pipeline {metadata.version(DISTRIBUTION)}"]
    for package in PACKAGES:
        names = sorted(set(owners.get(package, ())))
        verdict = "ok" if names == [DISTRIBUTION] else "NOT OURS ALONE: use an environment of its own"
        lines.append(f"  {package:<9} from {', '.join(names) or 'no distribution'}: {verdict}")
    return lines


def print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the version and stop; exit code 2 when a package of ours belongs to somebody else too."""
    if not wanted or ctx.resilient_parsing:
        return
    click.echo("\n".join(version_lines()))
    ctx.exit(exits.BAD_INPUT if intruders() else exits.OK)
