"""`pipeline node`: the stations of a running rig, the nodes under each, and whether they are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from .reach import connected, find_place, is_departed, reach_options, unknown_address
from .table import cell, print_json, print_table
from .tree import Entry, ask_statistics, read_tree

COLUMNS: Final = ("address", "state", "silent s", "pid", "boot")
PEER_COLUMNS: Final = ("address", "state", "silent s", "boot", "")


@click.group()
def node() -> None:
    """List and look at the stations and nodes of a running rig."""


@node.command("list")
@reach_options
def list_(rig: str | None, at: str | None, as_json: bool) -> None:
    """List who is in a rig, as a tree.

    Under each station stand the nodes and stations that are connected to it, as it sees them.

    ALIVE: heard within 1.2 s.  LATE: silent for longer.  LOST: silent for 2.5 s, or its connection is gone; forgotten
    after ten minutes.  A new boot is a new life of the same address: its process was started again.
    """
    place = find_place(rig, at)
    with connected(place) as ours:
        root = read_tree(ours, place.station)
    if as_json:
        print_json([entry.to_json() for _, entry in root.walk()])
        return
    click.echo(f"{place}\n")
    print_table([row(entry) | {"address": drawn} for drawn, entry in draw(root)], COLUMNS)
    if (above := (root.answer or {}).get("push_id")) is not None and above:
        click.echo(f"\n{root.address} is under {above}, which does not answer")


@node.command()
@click.argument("address")
@reach_options
def info(address: str, rig: str | None, at: str | None, as_json: bool) -> None:
    """Show all that is known of ADDRESS.

    Where it is, whether it lives, and what it has counted since it started; of a station, also who is connected to it;
    of a Pilot, how its machine's clocks stand beside the Terminal's.
    """
    place = find_place(rig, at)
    with connected(place) as ours:
        entries = {entry.address: entry for _, entry in read_tree(ours, place.station).walk()}
        if address not in entries:
            raise unknown_address(address, entries)
        entry = entries[address]
        ask_statistics(ours, entry)
    answer = entry.answer or {}
    peers = [peer for peer in answer.get("peers", []) if not is_departed(peer["id"], peer["state"])]
    peers = [peer for peer in peers if peer["id"] != ours.id]
    peers.sort(key=lambda peer: (not peer["is_upstream"], peer["id"]))
    if as_json:
        said = {name: value for name, value in entry.greeting.items() if name != "id"}
        print_json(entry.to_json() | said | {"peers": peers, "statistics": entry.statistics})
        return
    show(entry)
    if peers:
        click.echo()
        print_table([peer_row(peer) for peer in peers], PEER_COLUMNS)
    if entry.statistics:
        click.echo()
        show_values({key.replace("_", " "): value for key, value in entry.statistics.items()})


def show(entry: Entry) -> None:
    """Print what is known of one address, a value a line."""
    values: dict[str, object] = {"address": entry.address, "state": entry.state}
    if entry.station is not None:
        values |= {"station": entry.station, "silent": f"{entry.silent_s or 0:.1f} s"}
    values |= {"pid": plain(entry.pid), "boot": entry.boot}
    if entry.answer is not None:
        values |= {"endpoint": entry.answer.get("endpoint") or "-", "above": entry.answer.get("push_id") or "nobody"}
    values |= {name: value for name, value in entry.greeting.items() if name not in values and name != "id"}
    show_values(values | clock_values(entry.clock or {}))


def clock_values(clock: Mapping[str, Any]) -> dict[str, object]:
    """Return what is known of a machine's clocks beside the Terminal's, as people read it; nothing where nothing is."""
    if not clock:
        return {}
    off = f"± {clock['uncertainty_ns'] / 1e6:.3f} ms"
    return {
        "machine": clock["host"],
        "clock": f"{clock['offset_ns'] / 1e6:+.3f} {off} beside the Terminal's, since boot",
        "wall": f"{clock['wall_offset_ns'] / 1e6:+.3f} {off} beside the Terminal's",
        "drift": f"{clock['drift_ppm']:+.1f} ± {clock['drift_uncertainty_ppm']:.1f} ppm",
        "asked": f"{clock['age_s']:.1f} s ago; {clock['bursts']} bursts, {clock['lost']} probes lost, "
        f"{clock['refused']} refused, {clock['steps']} steps",
    }


def show_values(values: Mapping[str, object]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        click.echo(f"{name.ljust(width)}  {cell(value)}")


def draw(root: Entry) -> list[tuple[str, Entry]]:
    """Return each entry with its address drawn as a branch of the tree."""
    drawn = [(root.address, root)]
    for place, below in enumerate(root.below):
        is_last = place == len(root.below) - 1
        for line, entry in draw(below):
            knee = ("└─ " if is_last else "├─ ") if entry is below else ("   " if is_last else "│  ")
            drawn.append((knee + line, entry))
    return drawn


def row(entry: Entry) -> dict[str, object]:
    """Return an entry as a line of the table."""
    silent = None if entry.silent_s is None else f"{entry.silent_s:.1f}"
    return {"state": entry.state, "silent s": silent, "pid": plain(entry.pid), "boot": entry.boot}


def peer_row(peer: Mapping[str, Any]) -> dict[str, object]:
    """Return a neighbour of a station as a line of a table."""
    where = "above it" if peer["is_upstream"] else ""
    silent = f"{peer['silent_s']:.1f}"
    return {"address": peer["id"], "state": peer["state"], "silent s": silent, "boot": peer["boot"], "": where}


def plain(number: int | None) -> str | None:
    """Return a number that only names something: without spaces between thousands, so that it can be copied."""
    return None if number is None else str(number)
