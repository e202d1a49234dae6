"""Who is in a rig: asks the stations, from the top down, who is connected to them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .reach import is_departed

if TYPE_CHECKING:
    from pipeline import NetNode, Receipt

ASK_S: Final = 1.5
"""Seconds that a station or node has to answer; one that is stopped is shown without what it would have said."""
MAX_ASKED: Final = 4096
LOST: Final = "LOST"


@dataclass(slots=True)
class Entry:
    """One address of the tree."""

    address: str
    state: str
    """As the station above tells it: ALIVE, LATE or LOST."""
    silent_s: float | None = None
    """Seconds since the station above heard of it."""
    boot: str | None = None
    pid: int | None = None
    station: str | None = None
    """The station that it is connected to; None at the top."""
    answer: Mapping[str, Any] | None = None
    """What it answered to NODES; None if it is no station, or did not answer."""
    greeting: Mapping[str, Any] = field(default_factory=dict)
    """What it answered to PING."""
    clock: Mapping[str, Any] | None = None
    """What the top knows of its clock: `pipeline.clock_prober.ClockState`; None if it does not ask it."""
    below: list[Entry] = field(default_factory=list)

    statistics: Mapping[str, Any] = field(default_factory=dict)
    """What it has counted; a station says so with its answer, others when they are asked (`ask_statistics`)."""

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Entry]]:
        """Yield this entry and all below it with their depths, in order."""
        yield depth, self
        for entry in self.below:
            yield from entry.walk(depth + 1)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without what is below."""
        return {
            "address": self.address,
            "station": self.station,
            "state": self.state,
            "silent_s": None if self.silent_s is None else round(self.silent_s, 3),
            "pid": self.pid,
            "boot": self.boot,
            "is_station": self.answer is not None,
            "endpoint": self.answer.get("endpoint") if self.answer else None,
            "clock": self.clock,
        }


def read_tree(node: NetNode, entry_station: str) -> Entry:
    """Return the whole tree as it is now.

    Args:
        node: ours, connected to a station.
        entry_station: that station; the walk first climbs from it to the top.
    """
    top, answer = _climb(node, entry_station)
    root = Entry(top, "ALIVE", pid=_number(answer, "pid"), boot=_text(answer, "boot"), answer=answer)
    root.statistics = (answer or {}).get("statistics", {})
    level, seen = [root], {top, node.id}
    while level and len(seen) < MAX_ASKED:
        for entry in level:
            entry.below = _entries(entry, seen)
        level = [below for entry in level for below in entry.below]
        _ask(node, [entry for entry in level if entry.state != LOST])
    clocks = (answer or {}).get("clocks") or {}
    for _, entry in root.walk():
        entry.clock = clocks.get(entry.address)
    return root


def ask_statistics(node: NetNode, entry: Entry) -> None:
    """Have a node that is no station tell what it has counted, if it answers at all."""
    if not entry.statistics and entry.state != LOST:
        entry.statistics = _answer(node.send(entry.address, "STATISTICS", deadline_s=ASK_S)) or {}


def find_top(node: NetNode, entry_station: str) -> str:
    """Return the address of the topmost station that answers: the Terminal, where there is one."""
    return _climb(node, entry_station)[0]


def _climb(node: NetNode, station: str) -> tuple[str, Mapping[str, Any] | None]:
    """Return the topmost station that answers, and its answer."""
    answer = _answer(node.send(station, "NODES", deadline_s=ASK_S))
    seen = {station}
    while answer and (above := _text(answer, "push_id")) and above not in seen:
        seen.add(above)
        higher = _answer(node.send(above, "NODES", deadline_s=ASK_S))
        if higher is None:
            break
        station, answer = above, higher
    return station, answer


def _entries(entry: Entry, seen: set[str]) -> list[Entry]:
    """Return who a station says is connected to it; not the one above, ourselves, and commands that have left."""
    found = []
    for peer in (entry.answer or {}).get("peers", ()):
        address = str(peer["id"])
        if address in seen or peer["is_upstream"] or is_departed(address, peer["state"]):
            continue
        seen.add(address)
        found.append(Entry(address, peer["state"], peer["silent_s"], peer["boot"], station=entry.address))
    return sorted(found, key=lambda one: one.address)


def _ask(node: NetNode, entries: list[Entry]) -> None:
    """Ask all at once who they are; nodes that are no stations have no NODES, and perhaps no PING either."""
    deadline = time.monotonic() + ASK_S
    asked = {key: [node.send(one.address, key, deadline_s=ASK_S) for one in entries] for key in ("NODES", "PING")}
    for entry, nodes, ping in zip(entries, asked["NODES"], asked["PING"], strict=True):
        entry.answer = _answer(nodes, deadline)
        entry.greeting = _answer(ping, deadline) or {}
        entry.pid = _number(entry.answer or entry.greeting, "pid")
        entry.statistics = (entry.answer or {}).get("statistics", {})


def _answer(receipt: Receipt, deadline: float | None = None) -> Mapping[str, Any] | None:
    """Return the answer, a dict; None if there is none in time."""
    from pipeline import OutcomeError

    try:
        value = receipt.result(ASK_S if deadline is None else max(0.0, deadline - time.monotonic()))
    except OutcomeError:
        return None
    return value if isinstance(value, Mapping) else None


def _number(answer: Mapping[str, Any] | None, key: str) -> int | None:
    value = (answer or {}).get(key)
    return value if isinstance(value, int) else None


def _text(answer: Mapping[str, Any] | None, key: str) -> str | None:
    value = (answer or {}).get(key)
    return value if isinstance(value, str) else None
