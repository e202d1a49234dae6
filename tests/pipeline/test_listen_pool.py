"""Listens run in order per lane, on few threads, and may wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.waiting import eventually

from pipeline.listen_pool import MAX_LANE, ListenPool, blocking


@pytest.fixture
def pool() -> Iterator[ListenPool]:
    pool = ListenPool("test", threads=2)
    yield pool
    pool.close(5)


def test_a_lane_runs_in_order_and_never_twice_at_once(pool: ListenPool) -> None:
    """Also when other lanes compete for the threads."""
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    inside: dict[str, int] = dict.fromkeys(seen, 0)
    worst: list[int] = []

    def task(lane: str, number: int) -> None:
        inside[lane] += 1
        worst.append(inside[lane])
        seen[lane].append(number)
        inside[lane] -= 1

    for number in range(500):
        for lane in seen:
            pool.submit(lane, task, lane, number)
    assert eventually(lambda: all(len(numbers) == 500 for numbers in seen.values()))
    assert all(numbers == list(range(500)) for numbers in seen.values())
    assert 1 == max(worst)


def test_threads_are_bounded_and_a_busy_lane_holds_up_no_other(pool: ListenPool) -> None:
    """Two threads: one held, the other serves."""
    gate, served = threading.Event(), threading.Event()
    for _ in range(100):
        pool.submit("slow", gate.wait, 10)
    pool.submit("quick", served.set)
    assert served.wait(5)
    assert "threads=2" in repr(pool)
    gate.set()


def test_a_waiting_listen_gives_its_place_to_another(pool: ListenPool) -> None:
    """Ten listens on two threads, each waiting for the next."""
    events = [threading.Event() for _ in range(11)]
    events[10].set()

    def chain(number: int) -> None:
        with blocking():
            assert events[number + 1].wait(10)
        events[number].set()

    for number in range(10):
        pool.submit(number, chain, number)
    assert events[0].wait(10)


def test_a_task_that_raises_ends_nothing(pool: ListenPool) -> None:
    """It is logged; the lane goes on."""
    done = threading.Event()
    pool.submit("a", lambda: 1 / 0)
    pool.submit("a", done.set)
    assert done.wait(5)


def test_a_full_lane_has_no_room(pool: ListenPool) -> None:
    """Bounded by tasks and by bytes, beside those that a thread has taken; a large message waits until it is alone."""
    gate = threading.Event()
    assert pool.has_room("b", 2**40)
    for _ in range(MAX_LANE + 100):
        pool.submit("a", gate.wait, 10, size=1)
    assert eventually(lambda: not pool.has_room("a", 1))
    assert pool.has_room("b", 1)
    assert not pool.has_room("b", 2**40)
    gate.set()
