"""`pipeline-top`: how every stream of this machine is doing, read from shared memory alone.

Exit codes: 0 all is well, 1 no stream was found, 2 wrong usage, 3 a stream is dead, stalled or losing items.  Live, the
code is that of quitting (0); with `--once`, `-n`, `--json`, `--csv` or without a terminal it is the last sample's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final, Literal

import click

from .rows import Row, rows_of, select
from .sample import Sample
from .text import COLUMNS, as_csv, as_json, summary, table

OK: Final = 0
NOTHING: Final = 1
UNHEALTHY: Final = 3
ONCE_S: Final = 0.5
"""Seconds between the two samples of `--once`: a rate from one sample would be a lie."""

Form = Literal["table", "json", "csv"]
_PLAIN: Final = str.maketrans({"└": "`", "▲": "^", "▼": "v", "µ": "u"})


@click.command()
@click.option("--once", "-1", is_flag=True, help="Print the table once and leave.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="Print N tables and leave.")
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds apart.",
)
@click.option(
    "--json", "form", flag_value="json", help="One JSON object a line and sample: SI numbers, unknown is null."
)
@click.option("--csv", "form", flag_value="csv", help="CSV with one heading: SI numbers, unknown is empty.")
@click.option("--filter", "pattern", default="*", metavar="GLOB", help="Only streams whose name matches.")
@click.option(
    "--sort", type=click.Choice([column.key for column in COLUMNS]), default="stream", help="Column to sort by."
)
@click.option("--reverse", is_flag=True, help="Greatest first.")
@click.option("--readers", is_flag=True, help="A line for each reader.")
@click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR in the environment).")
@click.option("--ascii", "is_ascii", is_flag=True, help="The plain table, in ASCII only.")
@click.version_option(package_name="acquisition-pipeline")
def main(
    *,
    once: bool,
    count: int | None,
    interval: float,
    form: Form | None,
    pattern: str,
    sort: str,
    reverse: bool,
    readers: bool,
    no_color: bool,
    is_ascii: bool,
) -> None:
    """Watch the streams of this machine, read from shared memory alone."""
    from .collect import Collector

    if no_color:
        os.environ["NO_COLOR"] = "1"
    form = form or "table"

    def chosen(rows: list[Row]) -> list[Row]:
        return select(rows, pattern=pattern, by=sort, reverse=reverse)

    with Collector() as collector:
        if form == "table" and not (once or count or is_ascii) and sys.stdout.isatty() and sys.stdin.isatty():
            sys.exit(_live(collector.sample, interval_s=interval, pattern=pattern, sort=sort, reverse=reverse))
        show = _printer(form, readers=readers, is_ascii=is_ascii)
        sys.exit(
            watch(collector.sample, chosen, show, times=1 if once else count, interval_s=ONCE_S if once else interval)
        )


def watch(
    sample: Callable[[], Sample],
    chosen: Callable[[list[Row]], list[Row]],
    show: Callable[[Sample, list[Row]], None],
    *,
    times: int | None,
    interval_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Show rows again and again.

    Args:
        sample: takes one sample.
        chosen: picks and orders the rows.
        show: prints them.
        times: how often; None: until Ctrl-C.
        interval_s: between two samples; the first rows come after one interval.
        sleep: waits (tests pass their own).

    Returns:
        The exit code of the last rows.
    """
    code = NOTHING
    before = sample()
    try:
        while times is None or times > 0:
            sleep(interval_s)
            after = sample()
            rows = chosen(rows_of(before, after))
            show(after, rows)
            code = code_of(rows)
            before, times = after, None if times is None else times - 1
    except (KeyboardInterrupt, BrokenPipeError):
        return code
    return code


def code_of(rows: list[Row]) -> int:
    """Return the exit code that these rows deserve."""
    if not rows:
        return NOTHING
    return UNHEALTHY if any(row.is_unhealthy for row in rows) else OK


def _printer(form: Form, *, readers: bool, is_ascii: bool) -> Callable[[Sample, list[Row]], None]:
    headed = False

    def show(sample: Sample, rows: list[Row]) -> None:
        nonlocal headed
        if form == "json":
            text = as_json(sample, rows)
        elif form == "csv":
            text, headed = as_csv(sample, rows, heading=not headed), True
        else:
            lines = [summary(sample, rows), *(table(rows, readers=readers) if rows else ["no streams"])]
            text = "\n".join(lines)
        if is_ascii:
            text = text.translate(_PLAIN).encode("ascii", "replace").decode()
        print(text, flush=True)

    return show


def _live(sample: Callable[[], Sample], *, interval_s: float, pattern: str, sort: str, reverse: bool) -> int:
    try:
        from .app import TopApp
    except ModuleNotFoundError as error:
        hint = "pip install 'acquisition-pipeline[terminal]', or use --once"
        raise click.ClickException(f"the live table needs {error.name}: {hint}") from error
    app = TopApp(sample, interval_s=interval_s, pattern=pattern, sort=sort, reverse=reverse)
    return app.run() or OK


if __name__ == "__main__":
    main()
