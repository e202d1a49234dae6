"""Acquiring between START and STOP, again and again, with counts that balance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.rings import ListRing

from stations.acquisition import Account, Acquisition
from stations.errors import SourceDamagedError, SourceFailedError, StationError
from stations.sources import SourceSpec


class Numbers:
    """Counts up quickly; ends at ``length``; says what was done to it."""

    def __init__(self, length: int | None = None) -> None:
        self.spec = SourceSpec(shape=(1,), dtype="<i8", rate=1000.0, paced=False)
        self.length, self.next, self.opened, self.closed = length, 0, 1, 0
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def open(self) -> None:
        assert self.gate.wait(10)
        self.next, self.opened = 0, self.opened + 1

    def read_into(self, out: NDArray[Any]) -> int:
        self.threads.add(threading.get_ident())
        if self.failure is not None:
            raise self.failure
        count = len(out) if self.length is None else min(len(out), self.length - self.next)
        out[:count, 0] = np.arange(self.next, self.next + count)
        self.next += count
        return count

    def close(self) -> None:
        self.closed += 1


class Ring(ListRing):
    """A ring of a list that keeps its whole past; its writer may have published before."""

    def __init__(self, published: int = 0, birth: int = 1) -> None:
        super().__init__((1,), "<i8")
        self.before, self.birth, self.ended, self.closed = published, birth, False, False

    @property
    def published(self) -> int:
        return self.before + len(self.items)

    def end(self) -> None:
        self.ended = True

    def close(self, *, unlink: bool = True) -> None:
        self.closed = unlink


class Page:
    """The counter page, as two attributes."""

    base = counted = -1

    def set_base(self, value: int) -> None:
        self.base = value

    def set_counted(self, value: int) -> None:
        self.counted = value


@contextmanager
def serving(source: Numbers, make_ring: Callable[[], Ring] = Ring) -> Iterator[tuple[Acquisition, Page, list[Account]]]:
    """Serve on a thread, as the process does on its main one; leave at the end."""
    page, changes = Page(), list[Account]()
    acquisition = Acquisition(source, make_ring, page, on_change=changes.append)
    thread = threading.Thread(target=acquisition.serve)
    thread.start()
    try:
        yield acquisition, page, changes
    finally:
        acquisition.leave()
        thread.join(10)
        assert not thread.is_alive()


def wait_for(reached: Callable[[], bool]) -> None:
    """Wait on a condition of another thread, with a deadline."""
    done = threading.Event()
    for _ in range(10_000):
        if reached():
            return
        done.wait(0.001)
    pytest.fail("not reached within 10 s")


def test_nothing_is_acquired_before_start_and_after_stop() -> None:
    """Counts stand still, and balance with the ring that was taken over."""
    with serving(Numbers(), lambda: Ring(published=70)) as (acquisition, page, _):
        assert (70, 0, 70) == (acquisition.account().published, page.counted, page.base)
        begun = acquisition.start()
        wait_for(lambda: acquisition.account().published > 200)
        ended = acquisition.stop()
        assert ("running", 70) == (begun.state, begun.origin)
        assert ended.published == ended.base + ended.counted == acquisition.account().published
        assert page.counted == ended.counted


def test_each_run_opens_the_source_anew_in_the_same_ring() -> None:
    """Sequences go on; a file begins again."""
    source = Numbers()
    with serving(source) as (acquisition, _, _):
        acquisition.start()
        first = acquisition.stop()
        wait_for(lambda: acquisition.account().state == "idle")
        second = acquisition.start()
        last = acquisition.stop()
        assert (first.published, first.birth) == (second.origin, second.birth)
        assert last.counted == last.published
        if last.published > second.origin and first.published:
            ring = acquisition.ring
            assert isinstance(ring, Ring)
            assert 0 == ring.items[second.origin][0]
    assert source.opened == source.closed
    assert 1 >= len(source.threads)


def test_damage_ends_the_stream_and_its_account_says_why() -> None:
    """The ring is complete and the process lives: to begin again would come to the same place."""
    source = Numbers()
    source.failure = SourceDamagedError("item 7 is damaged")
    rings: list[Ring] = []

    def make_ring() -> Ring:
        rings.append(Ring())
        return rings[-1]

    with serving(source, make_ring) as (acquisition, _, changes):
        acquisition.start()
        wait_for(lambda: len(changes) == 2)
        assert ("ended", "item 7 is damaged") == (changes[1].state, changes[1].problem)
        assert rings[0].ended
        assert "item 7 is damaged" == acquisition.stop().problem
        source.failure = None
        assert "" == acquisition.start().problem


def test_source_that_ends_is_told_and_its_ring_is_complete() -> None:
    """A START that comes twice does not begin it again; STOP and START do, in a new ring."""
    births = iter(range(1, 9))
    source = Numbers(length=95)
    with serving(source, lambda: Ring(birth=next(births))) as (acquisition, _, changes):
        acquisition.start()
        wait_for(lambda: len(changes) == 2)
        first = acquisition.ring
        assert isinstance(first, Ring)
        assert (["running", "ended"], True) == ([change.state for change in changes], first.ended)
        assert ("ended", 95, 1) == ((again := acquisition.start()).state, again.published, again.birth)
        assert 95 == acquisition.stop().counted
        acquisition.start()
        wait_for(lambda: len(changes) == 4)
        assert (95, 95, 2, 0) == (
            changes[3].published, changes[3].counted, changes[3].birth, changes[3].base
        )  # fmt: skip
        assert first.closed


def test_stop_while_the_source_opens_prevents_the_run() -> None:
    """The last word counts."""
    source = Numbers()
    with serving(source) as (acquisition, _, changes):
        acquisition.start()
        acquisition.stop()
        wait_for(lambda: acquisition.account().state == "idle")
        source.gate.clear()
        with pytest.raises(StationError, match=r"has not opened within 0\.05 s"):
            acquisition.start(timeout_s=0.05)
        stopped = acquisition.stop()
        source.gate.set()
        wait_for(lambda: source.opened == 2)
        assert "idle" == stopped.state
        assert 1 == len(changes)


def test_error_of_the_source_ends_the_serving_and_wakes_who_waits() -> None:
    """The process then dies by it; the ring keeps its name for the next one."""
    source = Numbers()
    source.failure = SourceFailedError("unplugged")
    acquisition = Acquisition(source, Ring, Page())
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            acquisition.serve()
        except SourceFailedError as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    with suppress(StationError):  # it may be gone before START is answered
        acquisition.start()
    thread.join(10)
    with pytest.raises(StationError, match="leaving"):
        acquisition.start()
    ring = acquisition.ring
    assert isinstance(ring, Ring)
    assert (["unplugged"], 1, False) == ([str(error) for error in failures], source.closed, ring.closed)
