"""The thread that probes Pilots, over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.waiting import eventually

from pipeline import Message, NetNode
from pipeline.clock_prober import BURST
from pipeline.transport import port_of
from shm import clock_domain
from stations.clock_watch import CLOCK_STEP, CLOCK_UNCERTAIN, ClockWatch
from stations.station import Station


class Scene:
    """A station that watches, and a node that answers what a test says."""

    def __init__(self, stack: ExitStack) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.answer: Any = None
        self.asked = 0
        self.station = stack.enter_context(Station("T", listen_endpoint="tcp://127.0.0.1:0"))
        self.watch = ClockWatch(self.station.send, lambda kind, fields: self.events.append((kind, fields)))
        stack.callback(self.watch.close)
        node = NetNode("p1", "T", port_of(self.station.endpoint), {"PROBE": self.l_probe})
        stack.callback(node.release)
        assert node.wait_connected(5)

    def l_probe(self, _message: Message) -> Any:
        self.asked += 1
        return self.answer() if callable(self.answer) else self.answer

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [fields for found, fields in self.events if found == kind]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def stamps(ahead_ns: int = 0) -> dict[str, Any]:
    now = time.monotonic_ns() + ahead_ns
    return {"received": now, "wall": time.time_ns(), "answered": now, "clock": clock_domain(), "host": "box2"}


def test_a_burst_is_told_with_every_stamp(scene: Scene) -> None:
    """At once when a Pilot is met; the offset is what its clock is ahead."""
    scene.answer = lambda: stamps(7_000_000_000)
    scene.watch.meet("p1")
    assert eventually(lambda: bool(scene.of_kind("probes")), 10)
    (burst, *_) = scene.of_kind("probes")
    assert ("p1", BURST, "box2") == (burst["name"], len(burst["probes"]), burst["host"])
    state = scene.watch.states()["p1"]
    assert abs(state.offset_ns - 7_000_000_000) <= state.uncertainty_ns


def test_a_step_is_an_event(scene: Scene) -> None:
    """Told after the burst that reveals it."""
    scene.answer = stamps
    scene.watch.meet("p1")
    assert eventually(lambda: bool(scene.of_kind("probes")), 10)
    scene.answer = lambda: stamps(200_000_000)
    assert eventually(lambda: bool(scene.of_kind(CLOCK_STEP)), 10)
    step = next(fields for fields in scene.of_kind(CLOCK_STEP) if fields["clock"] == "monotonic")
    assert abs(step["size_ns"] - 200_000_000) < 50_000_000


def test_a_clock_of_another_machine_that_is_known_badly_is_told_of_once(scene: Scene) -> None:
    """An answer that takes 30 ms leaves 15 ms open; of the Terminal's own machine nothing is open."""

    def slowly(clock: str) -> dict[str, Any]:
        threading.Event().wait(0.03)
        return {**stamps(), "clock": clock}

    scene.answer = lambda: slowly("monotonic:far")
    scene.watch.meet("p1")
    assert eventually(lambda: len(scene.of_kind("probes")) == 2, 10)
    scene.answer = lambda: slowly(clock_domain())
    assert eventually(lambda: len(scene.of_kind("probes")) == 3, 10)
    (told,) = scene.of_kind(CLOCK_UNCERTAIN)
    assert "p1" == told["name"]
    assert told["uncertainty_ns"] >= 15_000_000


def test_garbage_and_silence_are_counted_and_what_is_good_is_used(scene: Scene) -> None:
    """The thread goes on; whoever does not exist costs nothing but a count."""

    def fail() -> None:
        raise RuntimeError("no clock here")

    scene.watch.meet("nobody")
    scene.watch.meet("x" * 300)
    for garbage in ({"received": "soon"}, fail):
        scene.answer, asked = garbage, scene.asked
        scene.watch.meet("p1")
        assert eventually(lambda asked=asked: scene.asked > asked, 10)
    scene.answer = stamps
    assert eventually(lambda: "p1" in scene.watch.states(), 20)
    state = scene.watch.states()["p1"]
    assert state.refused + state.lost >= 2
    assert {"p1"} == set(scene.watch.states())


def test_nobody_is_watched_without_being_met(scene: Scene) -> None:
    """No thread until then; closing twice does nothing."""
    assert "<ClockWatch []>" == repr(scene.watch)
    scene.watch.close()
    scene.watch.close()
    assert scene.asked == 0
