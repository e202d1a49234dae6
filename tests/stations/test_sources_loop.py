"""The sensor loop: what is published when, and with which times."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.rings import ListRing, ManualClock

from stations.errors import SourceFailedError
from stations.sources.loop import SensorLoop, block_for
from stations.sources.pace import MonotonicClock
from stations.sources.source import Reading, SourceSpec

Answer = int | Reading | None


class Script:
    """A source that answers as it is told, and fills items with their number."""

    def __init__(self, answers: Iterable[Answer | Callable[[], Answer]], **spec: Any) -> None:
        self.spec = SourceSpec(**{"shape": (2,), "dtype": "<i4", "rate": 1000.0, "paced": True, **spec})
        self._answers = iter(answers)
        self._number = itertools.count()

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read_into(self, out: NDArray[Any]) -> Answer:
        answer = next(self._answers, 0)
        reading = answer() if callable(answer) else answer
        count = reading.count if isinstance(reading, Reading) else reading or 0
        for item in out[:count]:
            item[...] = next(self._number)
        return reading


def acquire(source: Script, clock: ManualClock | None = None, slots: int = 1000) -> tuple[SensorLoop, ListRing]:
    """Run a loop to its source's end."""
    ring = ListRing(source.spec.shape, source.spec.dtype, slots)
    loop = SensorLoop(source, ring, clock=clock or ManualClock())
    assert "ended" == loop.run(threading.Event())
    return loop, ring


def test_paced_samples_get_scheduled_times() -> None:
    """That is start + i/rate, without rounding that adds up, and never in the future."""
    clock = ManualClock(0)
    loop, ring = acquire(Script([300, 300, 100, 299], rate=30_000.0), clock, slots=2000)
    exact = np.arange(999) * 1e9 / 30_000
    assert np.abs(np.array(ring.times) - exact).max() < 300  # a period is rounded down once per item of a block
    assert (np.diff(ring.times) > 0).all()
    assert ring.times[-1] <= clock.time_ns
    assert 999 == loop.counted == len(ring.items)
    assert list(range(999)) == [int(item[0]) for item in ring.items]


def test_waiting_happens_outside_the_claim() -> None:
    """A claim held open would cost every reader its slots."""
    ring = ListRing((2,), "<i4")

    class Watching(ManualClock):
        def wait(self, halt: threading.Event, until_ns: int) -> bool:
            assert not any(claim.is_open for claim in ring.claims)
            return super().wait(halt, until_ns)

    SensorLoop(Script([10, 10]), ring, clock=Watching()).run(threading.Event())
    assert 20 == len(ring.items)


def test_late_source_catches_up_and_a_very_late_one_goes_on_from_now() -> None:
    """Half a second is caught up by the schedule; a stop of ten seconds is a gap in the times."""
    clock = ManualClock(0)

    def late(seconds: float) -> Callable[[], Answer]:
        def answer() -> Answer:
            clock.time_ns += int(seconds * 1e9)
            return 1

        return answer

    loop, ring = acquire(Script([1, late(0.5), 1, 1, late(10), 1, 1], rate=100.0, shape=(20000,)), clock)
    steps = np.diff(ring.times)
    assert 1 == loop.slips
    assert [10_000_000] * 4 == steps[:4].tolist()
    assert steps[4] > 9e9
    assert (np.diff(ring.times) > 0).all()


def test_reading_on_request_gets_the_time_of_the_request() -> None:
    """A paced, irregular source such as telemetry is stamped when it was asked."""
    clock = ManualClock(0, tick_ns=7)
    _, ring = acquire(Script([1, 1, 1], rate=10.0, regular=False), clock)
    assert [100_000_000] * 2 == [step // 1000 * 1000 for step in np.diff(ring.times)]


def test_device_that_blocks_is_stamped_on_arrival() -> None:
    """The last sample came now, those before it by the nominal rate, and none before the block before."""
    clock = ManualClock(1_000_000_000)

    def after(milliseconds: int, count: int) -> Callable[[], Answer]:
        def answer() -> Answer:
            clock.time_ns += milliseconds * 1_000_000
            return count

        return answer

    _, ring = acquire(Script([after(20, 4), after(4, 4), after(0, 2), after(1, 4)], paced=False), clock)
    assert [1017, 1018, 1019, 1020] == [time // 1_000_000 for time in ring.times[:4]]
    assert (np.diff(ring.times) > 0).all()


def test_source_that_knows_its_times_is_believed_but_not_backwards() -> None:
    """Times strictly increase; one that does not is moved and counted."""
    answers = [Reading(3, 10**10, 500), Reading(2, 10**10 + 1200, 500), Reading(1, 7), Reading(2, 2 * 10**10, 0)]
    loop, ring = acquire(Script(answers, paced=False))
    assert [10**10, 10**10 + 500, 10**10 + 1000, 10**10 + 1200, 10**10 + 1700, 10**10 + 1701] == ring.times[:6]
    assert (np.diff(ring.times) > 0).all()
    assert 2 == loop.repaired


def test_file_at_full_speed_keeps_its_own_time_line() -> None:
    """Samples read faster than they were taken are as far apart as they were."""
    clock = ManualClock(0)
    _, ring = acquire(Script([8, 8], paced=False, can_wait=True), clock)
    assert [] == clock.waits
    assert [1_000_000] * 15 == np.diff(ring.times).tolist()


def test_nothing_yet_publishes_nothing_and_goes_on() -> None:
    """None is not the end."""
    loop, ring = acquire(Script([None, 2, None, 1], paced=False))
    assert 3 == loop.counted == len(ring.items)


def test_source_that_fills_more_than_there_is_room_for_is_stopped() -> None:
    """Its count cannot be true."""
    with pytest.raises(SourceFailedError, match="returned 11 for room of 10"):
        acquire(Script([11]))


def test_error_of_a_source_publishes_nothing_of_its_block() -> None:
    """Half an image is no image."""

    def fail() -> Answer:
        raise OSError("unplugged")

    ring = ListRing((2,), "<i4")
    loop = SensorLoop(Script([5, fail]), ring, clock=ManualClock())
    with pytest.raises(OSError, match="unplugged"):
        loop.run(threading.Event())
    assert 5 == loop.counted == len(ring.items)


def test_halt_ends_a_long_wait_at_once() -> None:
    """A STOP does not wait for the next item, however far away it is."""
    halt = threading.Event()
    ring = ListRing((2,), "<i4")
    first = threading.Event()
    loop = SensorLoop(
        Script(itertools.repeat(1), rate=0.001), ring, clock=MonotonicClock(), on_count=lambda _: first.set()
    )
    thread = threading.Thread(target=loop.run, args=(halt,))
    thread.start()
    assert first.wait(10)
    halt.set()
    thread.join(5)
    assert not thread.is_alive()
    assert 1 == loop.counted


@pytest.mark.parametrize(
    ("spec", "slots", "expected"),
    [
        ({"shape": (480, 640, 3), "dtype": "u1", "rate": 60.0}, 180, 1),
        ({"shape": (32,), "dtype": "<i2", "rate": 30_000.0}, 90_000, 300),
        ({"shape": (32,), "dtype": "<i2", "rate": 30_000.0}, 100, 25),
        ({"shape": (5,), "dtype": "<f8", "rate": 20.0}, 60, 1),
        ({"shape": (7,), "dtype": "<i2", "rate": 1.0, "paced": False, "can_wait": True}, 2048, 512),
        ({"shape": (7,), "dtype": "<i2", "rate": None, "paced": False}, 2048, 1),
    ],
)
def test_claim_is_one_image_or_ten_milliseconds(spec: dict[str, Any], slots: int, expected: int) -> None:
    """And never more than a quarter of the ring."""
    assert expected == block_for(SourceSpec(**{"paced": True, **spec}), slots)
