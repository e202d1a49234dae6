"""`pipeline ping`: round trips of small messages to stations and nodes of a running rig."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from . import exits
from .reach import connected, find_place, reach_options, unknown_address
from .table import print_json, print_table
from .tree import LOST, Entry, read_tree

if TYPE_CHECKING:
    from pipeline import NetNode, Receipt

COLUMNS: Final = ("address", "sent", "answered", "lost %", "   min ms", "median ms", "   max ms")
MS: Final = 1e3
APART_S: Final = 0.1
"""So long an address is waited for before the next is pinged."""


@dataclass(slots=True)
class Pings:
    """What became of the pings to one address."""

    address: str
    sent: int = 0
    times_s: list[float] = field(default_factory=list)
    error: str | None = None
    """Why the last one without an answer has none."""

    @property
    def lost(self) -> int:
        """Pings without an answer."""
        return self.sent - len(self.times_s)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; seconds."""
        times = self.times_s
        spread = (min(times), statistics.median(times), max(times)) if times else (None, None, None)
        return {
            "address": self.address,
            "sent": self.sent,
            "answered": len(times),
            "lost": self.lost,
            **dict(zip(("min_s", "median_s", "max_s"), spread, strict=True)),
            "times_s": [round(spent, 7) for spent in times],
            "error": self.error,
        }

    def row(self) -> dict[str, object]:
        """Return a line of the table; milliseconds."""
        found = self.to_json()
        spread = {
            f"{name} ms".rjust(9): "        -" if found[f"{name}_s"] is None else f"{found[f'{name}_s'] * MS:9.2f}"
            for name in ("min", "median", "max")
        }
        lost = round(100 * self.lost / self.sent) if self.sent else 0
        return {"address": self.address, "sent": self.sent, "answered": len(self.times_s), "lost %": lost, **spread}


@click.command()
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]…")
@click.option(
    "--count",
    "-c",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    metavar="N",
    help="Pings; 0: until Ctrl-C.",
)
@click.option(
    "--interval",
    "-i",
    type=click.FloatRange(min=0.001),
    default=0.5,
    show_default=True,
    metavar="S",
    help="Seconds from one ping to the next.",
)
@click.option(
    "--timeout",
    "-W",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds after which an answer counts as lost.",
)
@reach_options
def ping(
    *,
    addresses: tuple[str, ...],
    count: int,
    interval: float,
    timeout: float,
    rig: str | None,
    at: str | None,
    as_json: bool,
) -> int:
    """Measure how long stations and nodes take to answer.

    Every ADDRESS given is pinged, or everybody in the rig: from this command through the stations on the way, and back.
    Exit code 1 if an answer is missing.
    """
    place = find_place(rig, at)
    with connected(place) as ours:
        root = read_tree(ours, place.station)
        everybody = {entry.address: entry for _, entry in root.walk()}
        chosen = list(dict.fromkeys(addresses)) or present(everybody)
        for address in chosen:
            if address not in everybody:
                raise unknown_address(address, everybody)
        found = [Pings(address) for address in chosen]
        if not as_json:
            click.echo(f"{place}\n")
        said: list[str] = []

        def tell(line: str) -> None:
            said.append(line)
            if not as_json:
                click.echo(line)

        try:
            ping_all(ours, found, count or None, interval, timeout, tell=tell)
        except KeyboardInterrupt:
            click.echo(err=True)
    if as_json:
        print_json([one.to_json() for one in found])
    else:
        if said:
            click.echo()
        print_table([one.row() for one in found], COLUMNS)
    return exits.NOT_DONE if any(one.lost for one in found) else exits.OK


def present(everybody: dict[str, Entry]) -> list[str]:
    """Return the addresses that were not lost before we came."""
    return [address for address, entry in everybody.items() if entry.state != LOST]


def ping_all(
    ours: NetNode,
    pings: Sequence[Pings],
    count: int | None,
    interval_s: float,
    timeout_s: float,
    *,
    tell: Callable[[str], None],
) -> None:
    """Ping everybody `count` times; of one address every answer is told, of several what is missing.

    One after the other, so that they do not measure each other, unless an answer takes long.
    """
    number, due = 0, time.monotonic()
    while count is None or number < count:
        number += 1
        flights = []
        for one in pings:
            flights.append(Flight(ours, one, timeout_s))
            flights[-1].wait(APART_S)
        for flight in flights:
            line, is_lost = flight.land(number)
            if is_lost or len(pings) == 1:
                tell(line)
        due += interval_s
        late_s = time.monotonic() - due
        if late_s > 0:
            due += late_s  # go on from now, rather than catch up
        elif number != count:
            time.sleep(-late_s)


class Flight:
    """One ping that is under way."""

    def __init__(self, ours: NetNode, pings: Pings, timeout_s: float) -> None:
        self._pings = pings
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._deadline_s = timeout_s
        pings.sent += 1
        self._receipt = ours.send(pings.address, "PING", deadline_s=timeout_s)
        self._receipt.add_callback(self._note)

    def wait(self, timeout_s: float) -> str:
        """Wait for the answer for at most so long; return the state then."""
        return self._receipt.wait(timeout_s)

    def land(self, number: int) -> tuple[str, bool]:
        """Wait for the answer and count it; return a line for people, and whether it is lost."""
        left = self._began + self._deadline_s - time.perf_counter()
        state = self.wait(max(0.0, left))
        who = f"{self._pings.address}: ping {number}"
        if self._ended is not None and answers(self._receipt):
            spent = self._ended - self._began
            self._pings.times_s.append(spent)
            return f"{who}  {spent * MS:.2f} ms", False
        reason = str(self._receipt.error or f"{state} for {self._deadline_s:g} s")
        self._pings.error = reason
        return f"{who}  no answer: {reason}", True

    def _note(self, _receipt: Receipt) -> None:
        self._ended = time.perf_counter()


def answers(receipt: Receipt) -> bool:
    """Whether somebody answered, be it that it has no listen for PING: then it is there, and that took as long."""
    from pipeline import RemoteError, UnroutableError

    error = receipt.error
    return receipt.state == "done" or (isinstance(error, RemoteError) and not isinstance(error, UnroutableError))
