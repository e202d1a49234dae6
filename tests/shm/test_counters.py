"""Counters: one process counts, anybody looks."""

from __future__ import annotations

import threading

import pytest

from shm import Counters, SegmentNotFoundError, SpecError, TableFullError, WriterAliveError


def test_counts_are_seen_from_outside(ring_name: str) -> None:
    """Labels and signed values, in the order they were made; looking cannot count."""
    with Counters.create(ring_name) as counters:
        counters.counter("a").add(3)
        counters.counter("b").add(-5)
        counters.counter("a").add()
        counters.counter("level").set(-(2**63))
        look = Counters.attach(ring_name)
        assert look.read() == {"a": 4, "b": -5, "level": -(2**63)}
        assert look.owner_alive
        with pytest.raises(PermissionError):
            look.counter("c")
        with pytest.raises(PermissionError):
            look._existing()[0].add(1)
        look.close()


def test_threads_lose_no_count(ring_name: str) -> None:
    """`add` is atomic."""
    with Counters.create(ring_name) as counters:
        counter = counters.counter("n")
        threads = [threading.Thread(target=lambda: [counter.add(1) for _ in range(20_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counter.value == 80_000


def test_a_successor_goes_on_from_the_counts(ring_name: str) -> None:
    """A page outlives its process and is taken over with its values; a living owner is refused."""
    first = Counters.create(ring_name)
    first.counter("n").add(7)
    with pytest.raises(WriterAliveError):
        Counters.create(ring_name)
    first.close(unlink=False)
    with Counters.create(ring_name) as second:
        second.counter("n").add(1)
        assert second.read() == {"n": 8}
    with pytest.raises(SegmentNotFoundError):
        Counters.attach(ring_name)


def test_a_page_has_room_for_so_many(ring_name: str) -> None:
    """A full page and an impossible label are refused with what to do."""
    with Counters.create(ring_name, capacity=2) as counters:
        counters.counter("a")
        counters.counter("b")
        with pytest.raises(TableFullError, match="larger capacity"):
            counters.counter("c")
        with pytest.raises(SpecError):
            counters.counter("x" * 57)
