"""`pipeline run`: a rig file, its processes, and at the end what became of every item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from .browser import open_page
from .extras import require_extra
from .table import print_json, print_table

if TYPE_CHECKING:
    from stations import Rig, RunResult

Role = Literal["pilot", "terminal", "both"]
Function = TypeVar("Function", bound=Callable[..., int])

COLUMNS = ("stream", "produced", "stored", "dropped", "pending", "in flight", "balanced")


def run_options(command: Function) -> Function:
    """Add the options that `demo` and `run` share, in the order in which the help shows them."""
    options = (
        click.option(
            "--duration",
            type=click.FloatRange(min=0, min_open=True),
            metavar="S",
            help="Stop after S seconds; without it when all finite sources have ended, or at Ctrl-C.",
        ),
        click.option(
            "--output",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Folder in which the recording gets a folder of its own.",
        ),
        click.option("--no-browser", is_flag=True, help="Do not open the page; its address is printed."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout at the end."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("rig", type=click.Path(path_type=Path), metavar="RIG.toml")
@run_options
@click.option(
    "--role",
    type=click.Choice(["pilot", "terminal", "both"]),
    default="both",
    show_default=True,
    help="Which stations of the rig run on this machine.",
)
@click.option("--standby", is_flag=True, help="Acquire, but record nothing before `pipeline record` says so.")
def run(
    *,
    rig: Path,
    role: Role,
    standby: bool,
    duration: float | None,
    output: Path | None,
    no_browser: bool,
    as_json: bool,
) -> int:
    """Run the rig described in RIG.toml until it ends or Ctrl-C.

    Starts its stations and sensors, watches and restarts them, records every stream and shows the live page.  What
    happens is told on stderr, one line each; the account of every stream comes at the end on stdout.
    """
    if standby and role == "pilot":
        raise click.UsageError("--standby is for the machine of the Terminal, whose Pilots then stand by too")
    from stations import load_rig

    return perform(load_rig(rig), role, duration, output, browser=not no_browser, as_json=as_json, standby=standby)


def perform(
    rig: Rig,
    role: Role,
    duration_s: float | None,
    output: Path | None,
    *,
    browser: bool,
    as_json: bool,
    may_rename: bool = False,
    standby: bool = False,
) -> int:
    """Run a rig to its end, print its account and return the exit code.

    Args:
        rig: the rig, checked.
        role: which of its stations run here.
        duration_s: seconds until STOP; None: until all finite sources ended.
        output: folder for the recording's folder; the rig's own choice if None.
        browser: open the page when it answers.
        as_json: print one JSON object instead of a table.
        may_rename: take another name when a rig of this one runs already.
        standby: record nothing before `pipeline record`.

    Raises:
        click.ClickException: an extra that this rig needs is not installed.
    """
    from stations import RunOptions, run_rig

    require_extras(rig, role)
    on_page = open_page if browser else None
    options = RunOptions(
        role=role, duration_s=duration_s, output=output, on_page=on_page, may_rename=may_rename, standby=standby
    )
    result = run_rig(rig, options, report=lambda line: click.echo(line, err=True))
    show(result, as_json=as_json)
    return result.exit_code


def require_extras(rig: Rig, role: Role) -> None:
    """Refuse, before any process starts, a rig whose parts on this machine need an extra that is not installed."""
    if role != "pilot":
        require_extra("terminal", "recording and the page")
    if role != "terminal" and uses(rig, "video:"):
        require_extra("video", "a video: source")
    if role == "pilot" and any(pilot.record for pilot in rig.pilots.values()):
        require_extra("terminal", "recording on a Pilot")
    if role == "pilot" and uses(rig, "replay:"):
        require_extra("terminal", "a replay: source")


def uses(rig: Rig, kind: str) -> bool:
    """Whether the source of one of the rig's streams begins so."""
    return any((entry.source or "").startswith(kind) for _, _, entry in rig.streams())


def show(result: RunResult, *, as_json: bool) -> None:
    """Print what became of every item: one JSON object, or a table for people."""
    account = result.to_json()
    if as_json:
        print_json(account)
        return
    rows = [
        {
            **{column: entry.get(column.replace(" ", "_")) for column in COLUMNS},
            "stream": name,
            "dropped": dropped(entry.get("dropped") or {}),
        }
        for name, entry in account["streams"].items()
    ]
    if rows:
        hidden = () if any(row["pending"] for row in rows) else ("pending",)
        print_table(rows, [column for column in COLUMNS if column not in hidden])
    for name, entry in account["streams"].items():
        if entry.get("problem"):
            click.echo(f"{name}: {entry['problem']}")
        if entry.get("pending"):
            pilot = name.partition(".")[0]
            click.echo(
                f"{name}: {entry['pending']} items wait in the spool of {pilot}; they come when this rig runs again"
            )
    if account.get("recording"):
        click.echo(f"recording: {account['recording']}")
    for pilot, own in account.get("pilot_recordings", {}).items():
        click.echo(f"recording of {pilot}, on its machine: {own['directory']}: {recorded(own)}")


def recorded(own: Mapping[str, Any]) -> str:
    """Return what a Pilot recorded itself, in words."""
    entries = own["streams"]
    lost: Counter[str] = Counter()
    for entry in entries.values():
        lost.update(entry["dropped"])
    told = [f"{sum(entry['stored'] for entry in entries.values())} items", f"dropped: {dropped(lost)}"]
    told += [f"{name}: {entry['problem']}" for name, entry in entries.items() if entry["problem"]]
    return ", ".join([*told, own["problem"]] if own["problem"] else told)


def dropped(reasons: Mapping[str, int]) -> str:
    """Return the drops of a stream as people read them: ``0``, or ``link 12, lapped 3``."""
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items() if count) or "0"
