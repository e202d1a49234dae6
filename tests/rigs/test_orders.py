"""Terminal and Pilots are started and stopped in every order, five times: nobody else has to be restarted."""

from __future__ import annotations

import itertools
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.parts import Parts
from support.waiting import eventually

from pipeline import Message, NetNode, OutcomeError

pytest.importorskip("h5py")

RIG = """
[rig]
name = "{name}"
[pilots.p1]
[pilots.p2]
"""
NAME = f"orders-{uuid.uuid4().hex[:8]}"
STATIONS = ("T", "p1", "p2")
AT_ONCE = 3
TIMES = 5
RIGHT_S = 3.0
"""Within so many seconds of a start or a stop, everybody's states are right."""


class Onlookers:
    """A node at each station, which asks it who is there, and the Terminal's agent, which hears who introduces itself.

    They are made anew with their station: zmq tries a lost one only now and then after a while, and the Pilots are to
    be measured, not their onlookers.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._nodes: dict[str, NetNode] = {}
        self._lock = threading.Lock()
        self._introduced: dict[str, int] = {}

    def meet(self, station: str) -> None:
        """Look at a station that was started."""
        self.leave(station)
        port = self._parts.endpoint(station)[1]
        self._nodes[station] = NetNode(f"eye.{station}", station, port)
        if station == "T":
            with self._lock:
                self._introduced.clear()
            listens = {"HANDSHAKE": self.l_handshake, "STATE": lambda _: None}
            self._nodes["_T"] = NetNode("_T", "T", port, listens)

    def leave(self, station: str) -> None:
        """Look away."""
        for name in (station, f"_{station}"):
            if name in self._nodes:
                self._nodes.pop(name).release()

    def l_handshake(self, message: Message) -> None:
        with self._lock:
            self._introduced[message.value["id"]] = message.value["pid"]

    def introduced(self) -> dict[str, int]:
        """Pids of the Pilots that introduced themselves since the Terminal was started."""
        with self._lock:
            return dict(self._introduced)

    def ask(self, station: str, key: str) -> Any:
        """What a station answers; None if it does not."""
        node = self._nodes[station]
        if not node.is_connected:
            return None
        try:
            return node.request(station, key, timeout_s=0.5)
        except OutcomeError:
            return None

    def sees(self, station: str) -> dict[str, tuple[str, str]]:
        """State and boot of the other stations, as one sees them."""
        answer = self.ask(station, "NODES") or {"peers": ()}
        return {peer["id"]: (peer["state"], peer["boot"]) for peer in answer["peers"] if peer["id"] in STATIONS}

    def close(self) -> None:
        for station in STATIONS:
            self.leave(station)


@contextmanager
def stations(folder: Path, name: str) -> Iterator[tuple[Parts, Onlookers]]:
    """The stations of a rig, none of them started, and who looks at them."""
    with Parts(folder, RIG.format(name=name)) as parts:
        onlookers = Onlookers(parts)
        try:
            yield parts, onlookers
        finally:
            onlookers.close()


def what_is_wrong(parts: Parts, onlookers: Onlookers) -> str:
    """Compare what every running station says with what runs; empty if all is right."""
    told = {name: onlookers.ask(name, "NODES") for name in parts.pids}
    for name, answer in told.items():
        if answer is None or answer["pid"] != parts.pids[name]:
            return f"{name} does not answer as pid {parts.pids[name]}: {answer}"
    for name in told:
        seen = onlookers.sees(name)
        for other in STATIONS if name == "T" else ("T",):
            expected = ("ALIVE", told[other]["boot"]) if other in told else ("LOST",)
            if other != name and (other in told or other in seen) and seen.get(other, ())[: len(expected)] != expected:
                return f"{name} sees {other} as {seen.get(other)}, not {expected}"
    if "T" in told:
        pilots = {pilot: "idle" if pilot in told else "silent" for pilot in ("p1", "p2")}
        if (states := onlookers.ask("T", "INIT")) != pilots:
            return f"T says {states}, not {pilots}"
        running = {pilot: pid for pilot, pid in parts.pids.items() if pilot != "T"}
        introduced = {pilot: pid for pilot, pid in onlookers.introduced().items() if pilot in running}
        if introduced != running:
            return f"introduced themselves: {introduced}, not {running}"
    return ""


def soon_right(parts: Parts, onlookers: Onlookers, after: str) -> None:
    """Wait until all states are right."""
    wrong: list[str] = []

    def is_right() -> bool:
        wrong[:] = [what_is_wrong(parts, onlookers)]
        return not wrong[0]

    assert eventually(is_right, RIGHT_S), f"{RIGHT_S} s after {after}: {wrong[0]}"


def start(parts: Parts, onlookers: Onlookers, name: str) -> None:
    parts.start(name)
    onlookers.meet(name)


def start_and_stop(folder: Path, order: Sequence[str]) -> None:
    """Start all in an order, and stop or kill all in the same order, five times."""
    folder.mkdir()
    with stations(folder, f"{NAME}-{'-'.join(order)}") as (parts, onlookers):
        for number in range(1, TIMES + 1):
            for name in order:
                start(parts, onlookers, name)
                soon_right(parts, onlookers, f"start {number} of {name}")
            how = signal.SIGTERM if number % 2 else signal.SIGKILL
            for name in order:
                parts.stop(name, how)
                soon_right(parts, onlookers, f"{how.name} {number} of {name}")


def test_stations_start_and_stop_in_every_order(tmp_path: Path) -> None:
    """After every single start, and every stop or kill, those who run see who is there, as which boot.

    A Terminal that comes back hears again from Pilots that were there all the time.  It is mostly waiting for
    reconnections, so some orders are tried at once, each on a rig of its own.
    """
    orders = list(itertools.permutations(STATIONS))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {order: pool.submit(start_and_stop, tmp_path / "-".join(order), order) for order in orders}
    problems = {order: str(run.exception()) for order, run in runs.items() if run.exception() is not None}
    assert {} == problems


def test_one_station_restarts_while_the_others_run(tmp_path: Path) -> None:
    """Each in turn, killed and started at once: a new boot is seen, and nobody else has a new one."""
    with stations(tmp_path, NAME) as (parts, onlookers):
        for name in STATIONS:
            start(parts, onlookers, name)
        soon_right(parts, onlookers, "the first start")
        for name in STATIONS:
            others = {other: onlookers.ask(other, "NODES")["boot"] for other in STATIONS if other != name}
            parts.stop(name, signal.SIGKILL)
            start(parts, onlookers, name)
            soon_right(parts, onlookers, f"the restart of {name}")
            assert others == {other: onlookers.ask(other, "NODES")["boot"] for other in others}
