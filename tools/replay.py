"""`pipeline replay`: a whole rig that runs from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from . import exits
from .duration import seconds
from .extras import require_extra
from .run import perform, run_options

if TYPE_CHECKING:
    from stations.sources.replay import Speed

FASTEST: Final = 1000
"""What the source takes at most."""


def speed(text: str) -> Speed:
    """Return how many times as fast, or ``max``; the type of an option.

    Raises:
        click.BadParameter: neither a number greater than 0 nor max.
    """
    if text == "max":
        return "max"
    try:
        found = float(text.removeprefix("x"))
    except ValueError:
        found = 0.0
    if not 0 < found <= FASTEST:
        raise click.BadParameter(f"{text!r} is no speed; write 1, 2, 0.5 (at most {FASTEST}), or max")
    return found


@click.command()
@click.argument("recording", type=click.Path(path_type=Path), metavar="RECORDING")
@click.option(
    "--rate", type=speed, default="1", show_default=True, metavar="X|max", help="X times as fast as recorded."
)
@click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl-C.")
@click.option("--from", "offset_s", type=seconds, default="0", metavar="TIME", help="Begin there: 10s, 2m, 1h, 500ms.")
@click.option("--stream", "streams", multiple=True, metavar="S", help="Only this stream; may be given again.")
@run_options
def replay(
    *,
    recording: Path,
    rate: Speed,
    loop: bool,
    offset_s: float,
    streams: tuple[str, ...],
    duration: float | None,
    output: Path | None,
    no_browser: bool,
    as_json: bool,
) -> int:
    """Run a rig from the streams of RECORDING, with their recorded times.

    Page, recorder and readers run as they did; what is played is recorded anew, under the same names.  With --rate max
    every item comes as fast as it can be stored.  Exit code 3 if the recording is damaged: the other streams go on.
    """
    require_extra("terminal", "replaying a recording")
    from stations.replay import replay_of

    played = replay_of(recording, rate=rate, loop=loop, offset_s=offset_s, streams=streams)
    for name in played.left_out:
        click.echo(f"{name}: left out, no item of it can be read; pipeline verify says why", err=True)
    code = perform(played.rig, "both", duration, output, browser=not no_browser, as_json=as_json, may_rename=True)
    return exits.UNBALANCED if code == exits.OK and played.left_out else code
