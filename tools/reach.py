"""How a command reaches a running rig: `--rig`, `--at`, and a node of its own for as long as it runs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from pipeline import NetNode

PREFIX: Final = "cli-"
"""Addresses of commands begin so; `node list` does not show them once they have left."""
TOP: Final = "T"
"""Id of a Terminal whose rig file names none."""
CONNECT_S: Final = 3.0

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Place:
    """A station by which commands enter a rig."""

    station: str
    host: str
    port: int
    rig: str | None = None
    """Name of the rig, where it is known."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"tcp://{self.host}:{self.port}"

    def __str__(self) -> str:
        rig = f"rig {self.rig}, " if self.rig else ""
        return f"{rig}station {self.station} at {self.endpoint}"


def reach_options(command: Function) -> Function:
    """Add `--rig`, `--at` and `--json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on stdout."),
        click.option("--at", metavar="tcp://HOST:PORT/ID", help="Enter by this station, here or on another machine."),
        click.option("--rig", metavar="NAME", help="Which rig; may be left out where only one runs on this machine."),
    ):
        command = option(command)
    return command


def find_place(rig: str | None, at: str | None) -> Place:
    """Return the station to enter by.

    Raises:
        click.ClickException: what was given cannot be used.
        NoRigError: no such rig runs here, or several.
    """
    if at is not None:
        if rig is not None:
            raise click.UsageError("--rig and --at both say where to enter; give one")
        return read_place(at)
    from stations.running import find_station

    found = find_station(rig)
    place = read_place(f"{found.endpoint}/{found.station}")
    return Place(place.station, place.host, place.port, found.rig)


def read_place(text: str) -> Place:
    """Return the station that ``tcp://HOST:PORT/ID`` names; the ID may be left out for a Terminal called T."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.scheme != "tcp" or parts.query or parts.fragment:
        raise click.BadParameter(f"{text!r} is no station; write tcp://HOST:PORT/ID, e.g. tcp://10.0.0.5:5560/T")
    return Place(unquote(parts.path.strip("/")) or TOP, host, port)


@contextmanager
def connected(place: Place) -> Iterator[NetNode]:
    """Give a node of our own, connected to a station.

    Raises:
        click.ClickException: the station does not answer.
    """
    from pipeline import NetNode

    node = NetNode(f"{PREFIX}{secrets.token_hex(4)}", place.station, place.port, upstream_ip=place.host)
    try:
        if not node.wait_connected(CONNECT_S):
            raise click.ClickException(
                f"{place} did not answer within {CONNECT_S:.0f} s; is it running, and are address and id right?"
            )
        yield node
    finally:
        node.release()


def reason(error: Exception) -> str:
    """Return what whoever refused a message said, without the way on which it came."""
    return re.sub(r"^(?:[A-Z]+ to \S+: \w+Error: )+", "", str(error))


def unknown_address(address: str, known: Iterable[str]) -> click.ClickException:
    """Return the error for an address that no station knows, with the one that was probably meant."""
    from stations.suggest import did_you_mean

    return click.ClickException(f"nobody in this rig is called {address!r}; {did_you_mean(address, known)}")


def is_departed(address: str, state: str) -> bool:
    """Whether it is a command that has left: stations remember them a while, and nobody cares."""
    return state == "LOST" and address.startswith(PREFIX)
