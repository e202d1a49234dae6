"""`pipeline send`: one message to any address of a running rig, and what became of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Set as AbstractSet
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from . import exits
from .reach import connected, find_place, reach_options, unknown_address
from .tree import read_tree

if TYPE_CHECKING:
    from pipeline import Receipt

ASK_SHARE: Final = 0.9
"""Part of the timeout after which the recipient is asked rather than sent to again, so that `expired` comes in time."""
LATE: Final = {"expired": "it could not leave", "unknown": "no answer; it may have run, or still run,"}
"""What is known of a message that had no end when its time was over, by what leaving makes of it."""
HELD: Final = ("sent", "done")
"""Ends that are as they should be."""
EPILOG: Final = """\b
Examples:
  pipeline send T PING                   who are you?
  pipeline send pilot1 STATE --json      where do your streams stand?
  pipeline send T DATA '{"trial": 12}'   a value to be recorded
  pipeline send T DATA @trial.json       the same from a file; @- reads stdin
"""


@click.command(epilog=EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("to")
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for the answer.",
)
@click.option("--no-confirm", is_flag=True, help="Send once, ask for no answer; nobody tells whether it arrived.")
@reach_options
def send(
    *,
    to: str,
    key: str,
    value: str | None,
    timeout: float,
    no_confirm: bool,
    rig: str | None,
    at: str | None,
    as_json: bool,
) -> int:
    """Send a message to the address TO and print the answer.

    KEY chooses what is done with it there.  VALUE is JSON, or plain text if it is not JSON, or @FILE.  How the message
    ended is told on stderr: done, failed (the recipient says why), expired (it has not run and will not), unknown (it
    may have run), or sent.  Exit code 1 unless it ended as done; with --no-confirm, as sent.
    """
    refuse_options(to, key, value)
    content = None if value is None else read_value(value)
    place = find_place(rig, at)
    with connected(place) as ours:
        began = time.perf_counter()
        receipt = ours.send(to, key, content, repeat=not no_confirm, deadline_s=timeout * ASK_SHARE)
        receipt.wait(timeout)
        spent_s, is_in_time = time.perf_counter() - began, receipt.is_final
        if is_unroutable(receipt):
            root = read_tree(ours, place.station)
            known = {entry.address: entry.state for _, entry in root.walk()}
            if to in known:
                raise click.ClickException(f"{to} is {known[to]}: no station can reach it now")
            raise unknown_address(to, known)
    error = receipt.error if is_in_time else f"{key} to {to}: {LATE.get(receipt.state, '')} within {timeout:g} s"
    if as_json:
        click.echo(json.dumps(as_plain(receipt, error, spent_s), default=plain))
    else:
        tell(receipt, error, spent_s)
    return exits.OK if receipt.state in HELD else exits.NOT_DONE


def refuse_options(*arguments: str | None) -> None:
    """Refuse what looks like an option but is none; ``-5`` is a value."""
    for text in arguments:
        if text is not None and text.startswith("-") and not is_json(text):
            raise click.NoSuchOption(text, ctx=click.get_current_context())


def read_value(text: str) -> Any:
    """Return the value that VALUE stands for.

    Raises:
        OSError: the file cannot be read.
    """
    if not text.startswith("@"):
        return parse(text)
    content = sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    try:
        return parse(content.decode())
    except UnicodeDecodeError:
        return content


def parse(text: str) -> Any:
    """Return JSON as what it stands for, and other text as it is."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def is_json(text: str) -> bool:
    """Whether a text is JSON."""
    return not isinstance(parse(text), str) or text.startswith('"')


def is_unroutable(receipt: Receipt) -> bool:
    """Whether it failed because nobody on the way knows the address."""
    from pipeline import UnroutableError

    return isinstance(receipt.error, UnroutableError)


def tell(receipt: Receipt, error: object, spent_s: float) -> None:
    """Print the answer on stdout and how the message ended on stderr."""
    if receipt.state not in HELD:
        click.echo(f"{receipt.state}: {error}", err=True)
        return
    click.echo(f"{receipt.state} after {spent_s * 1e3:.1f} ms", err=True)
    answer = receipt.result(0)
    if answer is not None:
        click.echo(answer if isinstance(answer, str) else json.dumps(answer, default=plain, indent=2))


def as_plain(receipt: Receipt, error: object, spent_s: float) -> dict[str, Any]:
    """Return what became of it as plain values."""
    return {
        "to": receipt.to,
        "key": receipt.key,
        "state": receipt.state,
        "answer": receipt.result(0) if receipt.state in HELD else None,
        "error": str(error) if error else None,
        "seconds": spent_s,
    }


def plain(value: Any) -> Any:
    """Return something that JSON knows for what it does not: arrays, times, sets, bytes."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, AbstractSet):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
