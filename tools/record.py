"""`pipeline record`: a rig that stands by begins to record, with what its rings retain."""

from __future__ import annotations

from typing import Any, Final

import click

from . import exits
from .duration import seconds
from .mark import whoami
from .reach import connected, find_place, reach_options, reason
from .table import print_json
from .tree import find_top

ASK_S: Final = 12.0
EPILOG: Final = """\b
Examples:
  pipeline run rig.toml --standby          in one shell: acquires, records nothing
  pipeline record --from -10s              in another: from ten seconds ago
  pipeline record --from -2s --duration 60 two seconds before to a minute after
\b
How far back it can begin is how much the rings hold: `seconds` of each stream
in the rig file.  A stream that holds less begins with what is there, and is
named on stderr.  A file that is played begins at its beginning.
"""


def ago(text: str) -> float:
    """Return how many seconds ago; the type of an option.

    Raises:
        click.BadParameter: no time, or one to come.
    """
    found = seconds(text.strip().removeprefix("-"))
    if found and not text.strip().startswith("-"):
        raise click.BadParameter(f"{text!r} has yet to come; write -{text.strip()} for so long before now")
    return found


@click.command(epilog=EPILOG)
@click.option("--from", "from_s", type=ago, default="0", metavar="-TIME", help="Begin so long ago: -10s, -500ms, -1m.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="End the run S seconds from now; without it as the run itself was told.",
)
@reach_options
def record(*, from_s: float, duration: float | None, rig: str | None, at: str | None, as_json: bool) -> int:
    """Begin to record a rig that stands by, from now or from a moment ago.

    The rig was started with `pipeline run RIG.toml --standby`.  Prints the recording's folder and returns; the run ends
    as always, by its duration, Ctrl-C or `pipeline send T STOPALL`.  Exit code 1 if nothing stands by.
    """
    from pipeline import OutcomeError

    place = find_place(rig, at)
    order = {"from_s": from_s, "duration_s": duration, "by": whoami()}
    with connected(place) as ours:
        try:
            told: dict[str, Any] = ours.request(find_top(ours, place.station), "RECORD", order, timeout_s=ASK_S)
        except OutcomeError as error:
            click.echo(f"not begun: {reason(error)}", err=True)
            return exits.NOT_DONE
    for stream, began in told["began"].items():
        if began["why"]:
            click.echo(f"{stream} begins {when(began['before_s'])}, not {from_s:g} s before: {began['why']}", err=True)
    if as_json:
        print_json(told)
    else:
        click.echo(f"recording into {told['recording']}")
    return exits.OK


def when(before_s: float | None) -> str:
    """Return in words where a stream begins: seconds before the order."""
    if before_s is None:
        return "with its next item"
    return f"{before_s:.1f} s before" if before_s > 0 else f"{-before_s:.1f} s after"
