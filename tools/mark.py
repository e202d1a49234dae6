"""`pipeline mark`: a remark, with its time, into the recording that runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from . import exits
from .reach import connected, find_place, reach_options, reason
from .table import print_json
from .tree import find_top

ASK_S: Final = 10.0
EPILOG: Final = """\b
Examples:
  pipeline mark "lights off"
  pipeline mark "drug, 5 mg/kg" --by anna --rig demo
"""


@click.command(epilog=EPILOG)
@click.argument("text")
@click.option("--by", metavar="NAME", help="Who says so; you, on this machine, without it.")
@reach_options
def mark(*, text: str, by: str | None, rig: str | None, at: str | None, as_json: bool) -> int:
    """Write TEXT with its time into the recording that runs.

    It is on the disk when the command returns, and shown on the page.  Exit code 1 if nothing is being recorded.
    """
    from pipeline import OutcomeError

    place = find_place(rig, at)
    with connected(place) as ours:
        order = {"text": text, "by": by or whoami()}
        try:
            told: dict[str, Any] = ours.request(find_top(ours, place.station), "MARK", order, timeout_s=ASK_S)
        except OutcomeError as error:
            click.echo(f"not marked: {reason(error)}", err=True)
            return exits.NOT_DONE
    if as_json:
        print_json(told)
    else:
        at_time = datetime.fromtimestamp(told["wall_ns"] / 1e9).astimezone()
        click.echo(f"marked at {at_time.isoformat(sep=' ', timespec='milliseconds')} in {told['recording']}")
    return exits.OK


def whoami() -> str:
    """Return who is typing, ``user@machine``."""
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name, say in a container
        return socket.gethostname()
