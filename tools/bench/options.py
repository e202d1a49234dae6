"""Options that the benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

Function = Callable[..., Any]
Option = Callable[[Function], Function]


FOLDER: Final = click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR", help="Record below DIR."
)


def bench_options(
    *more: Option, seconds: float | None = None, of: str = "", repeats: int = 5, each: str = "repeats"
) -> Option:
    """Return a decorator that adds them, in the order in which the help shows them.

    Args:
        more: options of one benchmark's own.
        seconds: length of one measurement, if it can be chosen ...
        of: ... and how many of them there are.
        repeats: how often everything is measured.
        each: what one of these is called.
    """
    options: list[Option] = []
    if seconds is not None:
        length = f"Length of one measurement; {of}."
        kind = click.FloatRange(min=0.01)
        options.append(
            click.option("--seconds", type=kind, default=seconds, show_default=True, metavar="S", help=length)
        )
    count = click.IntRange(min=1)
    options.append(
        click.option(f"--{each}", type=count, default=repeats, show_default=True, help="Medians are over these.")
    )
    options += [*more, click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")]

    def add(command: Function) -> Function:
        for option in reversed(options):
            command = option(command)
        return command

    return add
