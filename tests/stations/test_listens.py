"""Every key that a station listens to has an effect that can be seen."""

from __future__ import annotations

import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.rigs import RunningRig
from support.waiting import eventually

from pipeline import Message, NetNode, RemoteError
from pipeline.clock_burst import Burst, Stamps
from pipeline.clock_prober import BURST, EVERY_S, TIMEOUT_S, ClockState
from pipeline.transport import port_of
from shm import clock_domain
from stations.running import find_station
from stations.station import Station

pytest.importorskip("h5py")

from stations.recording import Clocks, Recording, SegmentReader, read_journal

README = Path(__file__).parents[2] / "stations" / "README.md"
RIG = """
[rig]
name = "{name}"
PING_INTERVAL = 0.3
SUBJECT = "mouse-7"
[pilots.p1.streams.cam]
source = "synthetic:camera"
shape = [48, 64]
rate = 30
[pilots.p1.streams.sig]
source = "synthetic:signal"
channels = 4
rate = 500
"""


class Bench:
    """A rig that runs, and nodes at its stations."""

    def __init__(self, rig: RunningRig, name: str, stack: ExitStack) -> None:
        self.rig = rig
        self._stack = stack
        self.terminal = find_station(name)
        self.me = self.node("me", "T", port_of(self.terminal.endpoint))
        self.pilot_port = port_of(self.ask("p1", "NODES")["endpoint"])

    def node(
        self, name: str, at: str, port: int, listens: dict[str, Any] | None = None, stack: ExitStack | None = None
    ) -> NetNode:
        node = NetNode(name, at, port, listens)
        (stack or self._stack).callback(node.release)
        assert node.wait_connected(5)
        return node

    def ask(self, to: str, key: str, value: Any = None) -> Any:
        return self.me.request(to, key, value, timeout_s=10)

    def event(self, kind: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [event for event in self.rig.events() if event["kind"] == kind]
            return bool(found)

        assert eventually(look, 10), self.rig.events()
        return found[-1]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    name = f"listens-{uuid.uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("rig")
    with RunningRig(folder, RIG.format(name=name), "--duration", "600") as rig, ExitStack() as stack:
        rig.wait_for("recording p1.cam")
        yield Bench(rig, name, stack)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_ping_tells_who_is_there_and_what_it_does(bench: Bench) -> None:
    """Answered by the station alone."""
    assert bench.ask("T", "PING")["id"] == "T"
    assert {"id": "p1", "state": "running"}.items() <= bench.ask("p1", "PING").items()


def test_init_pings_every_pilot(bench: Bench) -> None:
    """The answer is what the Terminal then knows of each."""
    assert bench.ask("T", "INIT") == {"p1": "running"}


def test_state_and_nodes_describe_a_pilot(bench: Bench) -> None:
    """Its streams, and who is connected to it."""
    assert set(bench.ask("p1", "STATE")["streams"]) == {"p1.cam", "p1.sig"}
    assert {"p1.cam", "p1.sig"} <= {peer["id"] for peer in bench.ask("p1", "NODES")["peers"]}


def test_every_station_tells_what_its_clocks_show(bench: Bench) -> None:
    """Between asking and hearing, on this machine's clocks."""
    for station in ("T", "p1"):
        before, wall = time.monotonic_ns(), time.time_ns()
        found = msgspec.convert(bench.ask(station, "PROBE", {"what": "ever"}), Stamps)
        assert before <= found.received <= found.answered <= time.monotonic_ns()
        assert wall <= found.wall <= time.time_ns()
        assert (clock_domain(), socket.gethostname()) == (found.clock, found.host)


def test_the_pilots_clock_is_probed_and_every_stamp_is_in_the_journal(bench: Bench) -> None:
    """On one machine the offset is zero, within what is stated; the stream's clock is one that the probes name."""

    def has_drift() -> bool:
        return len([event for event in bench.rig.events() if event["kind"] == "probes"]) >= 3

    assert eventually(has_drift, 20)
    reading = read_journal(bench.rig.recording / "session.jsonl")
    clocks = Clocks(reading)
    assert not clocks.problems
    (relation,) = clocks.relations.values()
    span = relation.difference(time.monotonic_ns())
    assert span.low <= 0 <= span.high
    assert not relation.steps
    bursts = [msgspec.convert(event.fields, Burst) for event in reading.of_kind("probes")]
    assert {"p1"} == {burst.name for burst in bursts}
    assert any(len(burst.probes) == BURST for burst in bursts)

    (path, *_) = Recording(bench.rig.recording)["p1.cam"].paths
    with SegmentReader(path) as segment:
        times, off = clocks.align(segment.head.clock_domain, segment.times)
        assert np.array_equal(segment.times, times)
        assert not off.any()
        assert {segment.head.clock_domain} == {burst.theirs for burst in bursts}


def test_the_terminal_tells_what_it_knows_of_the_pilots_clock(bench: Bench) -> None:
    """With the other things that NODES tells; offset and wall offset are zero within what is stated."""

    def known() -> Any:
        return bench.ask("T", "NODES")["clocks"].get("p1")

    assert eventually(lambda: known() is not None, 10)
    state = msgspec.convert(known(), ClockState)
    assert abs(state.offset_ns) <= state.uncertainty_ns
    assert abs(state.wall_offset_ns) <= state.uncertainty_ns + 1_000_000
    assert state.age_s < EVERY_S + TIMEOUT_S + 1
    assert (0, socket.gethostname()) == (state.steps, state.host)


def test_change_sets_a_sources_parameter_and_is_an_event(bench: Bench) -> None:
    """The answer is the value that the source took; the images are brighter from then on."""
    change = {"pilot": "p1", "stream": "cam", "parameter": "exposure", "value": 2}
    assert bench.ask("T", "CHANGE", change) == 2.0
    event = bench.event("param")
    assert (event["name"], event["parameter"], event["value"], event["by"]) == ("p1.cam", "exposure", 2.0, "me")


def test_a_mark_is_an_event_on_the_disk_when_it_is_answered(bench: Bench) -> None:
    """With when it was heard and who said so; a text alone is of its sender."""
    before = (time.time_ns(), time.monotonic_ns())
    answers = [bench.ask("T", "MARK", value) for value in ({"text": "lights öff", "by": "anna"}, "plain")]
    after = (time.time_ns(), time.monotonic_ns())
    marks = [event for event in bench.rig.events() if event["kind"] == "mark"][-2:]
    assert [("lights öff", "anna"), ("plain", "me")] == [(mark["text"], mark["by"]) for mark in marks]
    for answer, mark in zip(answers, marks, strict=True):
        assert before < (mark["wall_ns"], mark["monotonic_ns"]) < after
        assert answer["recording"] == str(bench.rig.recording)
        assert {**answer, "kind": "mark", "crc": mark["crc"]} == {**mark, "recording": answer["recording"]}
    assert "mark of anna: lights öff" in bench.rig.said


@pytest.mark.parametrize(
    ("to", "key", "value", "why"),
    [
        ("p1", "PARAM", {"stream": "cma", "parameter": "exposure", "value": 1}, "did you mean 'p1.cam'"),
        ("p1", "PARAM", {"stream": "cam", "parameter": "exposur", "value": 1}, "did you mean 'exposure'"),
        ("p1", "CHANGE", {"stream": "cam", "parameter": "exposure", "value": 99}, "float from 0 to 8 times"),
        ("p1.sig", "PARAM", {"parameter": "amplitude", "value": "high"}, "float from 0 to 16000 counts"),
        ("p1", "PARAM", {"stream": "cam"}, "missing required field"),
        ("T", "CHANGE", 7, "Expected `object`"),
        ("T", "MARK", "", "length >= 1"),
        ("T", "MARK", None, "Expected `str`"),
        ("T", "CHANGE", {"pilot": "p9", "stream": "cam", "parameter": "exposure", "value": 1}, "p9"),
        ("T", "FILE", {"path": "../x"}, "exchanges no files"),
        ("p1", "FILE", None, "exchanges no files"),
        ("p1", "CHILD", None, "no Pilots below"),
    ],
)
def test_what_cannot_be_done_fails_and_says_why(bench: Bench, to: str, key: str, value: Any, why: str) -> None:
    """The sender gets the reason; everybody goes on."""
    with pytest.raises(RemoteError, match=re.escape(why)):
        bench.ask(to, key, value)


def test_data_is_recorded_passed_on_and_plotted(bench: Bench, stack: ExitStack) -> None:
    """A node's values become rows, in order; the plot of its Pilot gets the newest and not all of them."""
    plotted: list[Any] = []
    last = threading.Event()

    def plot(message: Message) -> None:
        plotted.append(message.value["value"])
        if message.value["value"] == {"n": 199}:
            last.set()

    task = bench.node("p1.task", "p1", bench.pilot_port, stack=stack)
    bench.node("P_p7", "T", port_of(bench.terminal.endpoint), {"DATA": plot, "CONTINUOUS": plot}, stack)
    before = bench.ask("T", "ROWS")["keys"].get("DATA", {"count": 0})["count"]
    receipts = [task.send("T", "DATA", msg=task.prepare_message("T", "DATA", {"n": n}, pilot="p7")) for n in range(200)]
    assert [receipt.result(10) for receipt in receipts] == list(range(before, before + 200))
    assert last.wait(10)
    assert len(plotted) < 100
    assert bench.ask("T", "COHERE")["data/DATA"]["published"]["count"] == before + 200


def test_continuous_sent_to_a_pilot_goes_up_as_its_own(bench: Bench, stack: ExitStack) -> None:
    """A Pilot that is addressed itself sends the value on; the row's key is the value's own."""
    task = bench.node("p1.lick", "p1", bench.pilot_port, stack=stack)
    assert task.request("p1", "CONTINUOUS", {"inner_key": "licks", "n": 1}, timeout_s=10) == 0
    assert bench.ask("T", "ROWS")["keys"]["licks"] == {"count": 1, "last": 0}


def test_cohere_compares_what_was_published_with_what_is_stored(bench: Bench) -> None:
    """Stream by stream: what is missing now is under way."""

    def is_close() -> bool:
        found = bench.ask("T", "COHERE")
        return {"p1.cam", "p1.sig"} <= set(found) and all(
            row["missing"] is not None and row["missing"] < 1000 for row in found.values()
        )

    assert eventually(is_close, 10)


def test_the_readme_lists_every_key(bench: Bench) -> None:
    """What a station says it has, when asked for something else, is what the table says."""
    listed: dict[str, set[str]] = {"Terminal": set(), "Pilot": set()}
    station = ""
    text = README.read_text()
    for line in text[text.index("### What stations listen to") :].splitlines():
        if line.startswith("What can be set"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and "`" in cells[1]:
            station = cells[0] or station
            listed[station] |= set(re.findall(r"`([A-Z]+)`", cells[1]))
    for name, to in (("Terminal", "T"), ("Pilot", "p1")):
        with pytest.raises(RemoteError, match="has no listen") as found:
            bench.ask(to, "NONSENSE")
        has = set(str(found.value).rpartition("it has ")[2].split(", "))
        assert has - {"PING", "NODES", "STREAM", "STATISTICS"} == listed[name] - {"NODES", "STREAM"}


def test_a_station_is_usable_alone() -> None:
    """With listens of one's own: `send` by the ROUTER, `push` upwards, messages made before."""
    heard: list[Any] = []
    with (
        Station("top", {"K": lambda m: heard.append(m.value)}, listen_endpoint="tcp://127.0.0.1:0") as top,
        Station(
            "low", {"K": lambda m: m.value * 2}, listen_endpoint="tcp://127.0.0.1:0",
            push_endpoint=top.endpoint, push_id="top",
        ) as low,
    ):  # fmt: skip
        assert low.hub.wait_connected(5)
        low.push(key="K", value=1).result(5)
        low.push(msg=low.prepare_message("top", "K", 2)).result(5)
        assert top.send("low", "K", 21).result(5) == 42
        assert heard == [1, 2]
        assert re.fullmatch(r"\d+(\.\d+){3}", low.get_ip())
        low.release()
        low.release()


def test_stopall_ends_the_run(tmp_path: Path) -> None:
    """Pilots and recorder stop, the ledger balances, the plots hear of it."""
    name = f"stopall-{uuid.uuid4().hex[:8]}"
    with RunningRig(tmp_path, RIG.format(name=name), "--duration", "600") as rig, ExitStack() as stack:
        rig.wait_for("recording p1.cam")
        bench = Bench(rig, name, stack)
        bench.ask("T", "STOPALL")
        result = rig.finish()
        assert rig.process.returncode == 0, rig.said
        assert "me said STOPALL" in rig.said
        (note,) = [event for event in rig.events() if event["kind"] == "cohere"]
        assert all(row["match"] for row in note["streams"].values()), note
        assert set(note["streams"]) >= set(result["streams"])
