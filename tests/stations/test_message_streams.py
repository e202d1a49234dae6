"""Streams of messages to a Station of another process: arrays by a ring, through deaths and slow listens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from support.children import Child
from support.message_streams import array_of
from support.rigs import pipeline
from support.waiting import eventually

from pipeline import NetNode
from pipeline.stream_ring import LEAST
from shm import list_segments

MODULE = "support.message_streams"


class Bench:
    """A Station of another process, and a node of ours under it."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.port = child.line()["port"]
        self.node = NetNode("p1.watch", "T", self.port)

    def heard(self) -> dict[str, Any]:
        """Return what its listen has seen."""
        found: dict[str, Any] = self.node.request("T", "HEARD", timeout_s=20)
        return found

    def producer(self, nbytes: int) -> Child:
        """Start a process that streams arrays to it."""
        return Child(MODULE, "producer", str(self.port), "images", str(nbytes))


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Child(MODULE, "station") as child:
        bench = Bench(child)
        yield bench
        bench.node.release()


def test_arrays_reach_a_station_by_a_ring(bench: Bench) -> None:
    """Whole, once, in order, small and large ones, alone and in dicts."""
    sizes = [LEAST, 64, 1 << 20, 5 << 20, LEAST]
    with bench.node.get_stream("images", "ARRAY", min_size=4) as stream:
        for number in range(60):
            array = array_of(number, sizes[number % len(sizes)])
            assert stream.put({"image": array} if number % 2 else array)
        assert eventually(lambda: stream.statistics().waiting == 0, 20)
        (info,) = list_segments("messages/")
        assert info.ring is not None
        assert info.ring.published > 0
    heard = bench.heard()
    assert (list(range(60)), 0) == (heard["numbers"], heard["torn"])
    assert 60 == stream.statistics().arrived


def test_a_killed_producer_leaves_what_clean_removes_and_a_new_one_goes_on(bench: Bench) -> None:
    """SIGKILL in the middle of it: the ring stays until nobody holds it, and its name serves the next producer."""
    with bench.producer(1 << 20) as first:
        name = first.line()["ring"]
        first.kill()
    assert [name] == [info.full_name for info in list_segments("messages/")]

    def cleaned() -> list[str]:
        said = pipeline("clean", "--json")
        assert 0 == said.returncode, said.stderr
        removed: list[str] = json.loads(said.stdout)["removed"]
        return removed

    assert eventually(lambda: name in cleaned(), 10), "the Station lets go of a ring that is idle"
    before = bench.heard()
    for nbytes in (1 << 20, 3 << 20):  # the second takes another size of ring in the place of the first's
        with bench.producer(nbytes) as again:
            assert name == again.line()["ring"]
            again.kill()
    heard = bench.heard()
    assert 0 == heard["torn"]
    new = heard["numbers"][len(before["numbers"]) :]
    second = new.index(0, 1)
    assert [list(range(second)), list(range(len(new) - second))] == [new[:second], new[second:]]
    assert eventually(lambda: name in cleaned(), 10)


def test_a_slow_listen_costs_its_stream_items_and_nobody_memory(bench: Bench) -> None:
    """While it stands still the producer refuses and counts; other keys are answered; what was taken arrives."""
    start = bench.heard()["peak"]
    bench.node.request("T", "GATE", False)
    ours = psutil.Process()
    stream = bench.node.get_stream("images", "ARRAY", min_size=4, q_size=32)
    nbytes = 1 << 20
    assert all(stream.put(array_of(number, nbytes)) for number in range(32))
    before = ours.memory_info().rss
    taken = [number for number in range(32, 1032) if stream.put(array_of(number, nbytes), timeout_s=0.0)]
    assert 1000 - len(taken) == stream.overflowed > 900
    assert ours.memory_info().rss - before < 100 * nbytes, "1 GB was offered"
    for _ in range(20):
        assert [] == bench.heard()["numbers"]
    bench.node.request("T", "GATE", True)
    assert stream.close(30)
    heard = bench.heard()
    assert ([*range(32), *taken], 0) == (heard["numbers"], heard["torn"])
    assert heard["peak"] - start < 100 * nbytes
