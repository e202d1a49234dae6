"""A sensor's process: told by its Pilot, counted apart, taken over after a crash, gone without a trace."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.media import make_wav

from pipeline.log import LogOptions
from shm import Counters, RingReader, clean, list_segments
from stations.child import Brief
from stations.sensor import SensorConfig, describe, ring_meta
from stations.sources import SourceSpec, check_items, item_numbers
from stations.station import Station

RIG = f"sensortest{os.getpid()}"


class Bench:
    """A station in the Pilot's place, and sensors started below it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.greetings: queue.Queue[dict[str, Any]] = queue.Queue()
        self.states: queue.Queue[dict[str, Any]] = queue.Queue()
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.station = self.open_station()

    def open_station(self) -> Station:
        listens = {
            "HANDSHAKE": lambda message: self.greetings.put(message.value),
            "STATE": lambda message: self.states.put(message.value),
        }
        return Station("pilot1", listens, listen_endpoint=f"tcp://127.0.0.1:{self.port}")

    def start(self, source: str, *, wait: bool = True, **options: Any) -> subprocess.Popen[bytes]:
        config = SensorConfig(
            rig=RIG, stream="pilot1.s", pilot="pilot1", port=self.port, source=source, options=options, seconds=1.0,
            folder=str(self.folder),
        )  # fmt: skip
        brief = Brief("pilot1.s", os.getpid(), LogOptions(str(self.folder)), msgspec.Raw(msgspec.json.encode(config)))
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stations", "sensor"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(brief) + b"\n")
        process.stdin.flush()
        if wait:
            self.greeting = self.greetings.get(timeout=20)
        return process

    def tell(self, key: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.station.request("pilot1.s", key)
        return answer

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stderr):
                if stream is not None and not stream.closed:
                    stream.close()
        self.station.release()
        clean(rig=RIG)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def leave(process: subprocess.Popen[bytes]) -> int:
    """Close stdin as a parent that dies does; return the exit code."""
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(20)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.005)


def test_sensor_acquires_from_start_to_stop_and_leaves_nothing(bench: Bench) -> None:
    """Its own count balances with the ring, every item proves itself, and its names go with it."""
    process = bench.start("synthetic:signal", channels=8, rate=2000)
    stream = bench.greeting["streams"]["pilot1.s"]
    assert ("sensor", process.pid, "idle") == (bench.greeting["kind"], bench.greeting["pid"], bench.greeting["state"])
    assert (f"{RIG}/pilot1.s", [8], "<i2", False) == tuple(stream[key] for key in ("ring", "shape", "dtype", "finite"))
    with RingReader.attach(f"{RIG}/pilot1.s", policy="drop_oldest", start="oldest") as reader:
        assert 0 == reader.published
        begun = bench.tell("START")
        assert ("running", 0, reader.birth) == (begun["state"], begun["origin"], begun["birth"])
        until(lambda: reader.published >= 500)
        ended = bench.tell("STOP")
        assert reader.published == ended["published"] == ended["counted"] + ended["base"]
        with Counters.attach(f"{RIG}/pilot1.s") as page:
            assert {"base": 0, "counted": ended["counted"]} == page.read()
        run = reader.window(400)
        assert [] == check_items(run.data, "signal")
        assert [500_000] == np.unique(np.diff(run.times)).tolist()
        assert list(range(run.first, run.first + 400)) == item_numbers(run.data, "signal").tolist()
    assert 0 == leave(process)
    assert [] == list_segments(f"{RIG}/")


def test_killed_sensor_is_taken_over_by_the_next(bench: Bench) -> None:
    """Same ring, same birth: it goes on at what was published, and counts anew from there."""
    first = bench.start("synthetic:signal", channels=4, rate=1000)
    before = bench.tell("START")
    until(lambda: bench.tell("STATE")["published"] > 100)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    second = bench.start("synthetic:signal", channels=4, rate=1000)
    after = bench.tell("START")
    assert after["birth"] == before["birth"]
    assert after["base"] == after["origin"] > 100
    ended = bench.tell("STOP")
    assert ended["published"] == ended["base"] + ended["counted"]
    assert 0 == leave(second)
    assert [] == list_segments(f"{RIG}/")


def test_source_that_ends_is_told_to_the_pilot(bench: Bench) -> None:
    """Every sample of the file is in the ring, which then is complete."""
    values = np.arange(900, dtype="<i2").reshape(300, 3)
    make_wav(bench.folder / "a.wav", values.tobytes(), channels=3, sample_bytes=2, rate=300)
    process = bench.start(f"wav:{bench.folder / 'a.wav'}", rate="max")
    assert bench.greeting["streams"]["pilot1.s"]["finite"]
    with RingReader.attach(f"{RIG}/pilot1.s", policy="lossless", reader="pilot1", start="oldest") as reader:
        bench.tell("START")
        assert ["running", "ended"] == [bench.states.get(timeout=20)["state"] for _ in range(2)]
        assert values.tolist() == [item.data.tolist() for item in reader]
    assert 300 == bench.tell("STOP")["counted"]
    assert 0 == leave(process)


def test_sensor_greets_a_pilot_that_came_back(bench: Bench) -> None:
    """It goes on acquiring meanwhile: a START that comes again begins nothing new."""
    bench.start("host", rate=100)
    begun = bench.tell("START")
    bench.station.release()
    bench.station = bench.open_station()
    greeting = bench.greetings.get(timeout=30)
    assert "running" == greeting["state"]
    assert begun["origin"] == bench.tell("START")["origin"]
    assert bench.tell("STOP")["published"] > 0


def test_kill_ends_the_process(bench: Bench) -> None:
    """Told so, it leaves as it does when its parent goes."""
    process = bench.start("host")
    bench.station.send("pilot1.s", "KILL")
    assert 0 == process.wait(20)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("video:/nowhere/a.mp4", {}, "no file /nowhere/a.mp4; there is no folder /nowhere"),
        ("synthetic:camera", {"size": 3}, "synthetic:camera has no option 'size'"),
        ("python:endless:Source", {}, "python:endless:Source has no rate; say how many items to keep with slots = …"),
    ],
)
def test_wrong_source_ends_the_process_with_2(bench: Bench, source: str, options: dict[str, Any], message: str) -> None:
    """One line on stderr names the stream once; no ring is left."""
    (bench.folder / "endless.py").write_text(
        "from stations.sources import SourceSpec\n"
        "class Source:\n"
        "    spec = SourceSpec(shape=(1,), dtype='u1', rate=None)\n"
        "    def open(self): pass\n"
        "    def read_into(self, out): return 1\n"
        "    def close(self): pass\n"
    )
    process = bench.start(source, wait=False, **options)
    _, said = process.communicate(timeout=20)
    assert 2 == process.returncode
    told = [line for line in said.decode().splitlines() if line.startswith("pipeline: ")]
    assert 1 == len(told)
    assert told[0].startswith(f"pipeline: pilot1.s: {message}")
    assert [] == list_segments(f"{RIG}/")


def test_meta_of_a_ring_leaves_out_what_is_too_long() -> None:
    """A thousand labels do not fit a header; the HANDSHAKE still carries them."""
    labels = tuple(f"channel {index}" for index in range(1000))
    spec = SourceSpec(shape=(1000,), dtype="<i2", rate=100.0, labels=labels, unit="uV", meta={"selfcheck": "signal"})
    config = SensorConfig(rig="r", stream="p.s", pilot="p", port=1, source="host")
    assert {
        "rate": 100.0,
        "regular": True,
        "period_ns": 10**7,
        "unit": "uV",
        "meta": {"selfcheck": "signal"},
    } == ring_meta(spec)
    assert list(labels) == describe(spec, config, 7)["labels"]
