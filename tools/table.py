"""Plain text tables and JSON, the two ways in which every command answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click

Row = Mapping[str, object]


def cell(value: object) -> str:
    """Return one value as people read it: thousands apart, yes/no, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def lines(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return rows as aligned lines under a heading; numbers stand to the right."""
    texts = [[cell(row.get(column)) for column in columns] for row in rows]
    widths = (
        [max(len(column), *(len(text[i]) for text in texts)) for i, column in enumerate(columns)]
        if texts
        else [len(column) for column in columns]
    )
    right = [bool(rows) and all(_is_number(row.get(column)) for row in rows) for column in columns]
    return [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(columns), *texts]
    ]


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print rows as a table on stdout."""
    click.echo("\n".join(lines(rows, columns)))


def print_json(value: object) -> None:
    """Print one JSON value on stdout, on one line."""
    click.echo(json.dumps(value, default=str))
