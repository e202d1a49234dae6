"""How readers wait: on the futex, spinning, both, or with a waiter of somebody else's."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

from shm import SLICE_S, FutexWaiter, HybridWaiter, RingReader, RingWriter, SpinWaiter, Waiter, WaiterFactory


class LostNotices:
    """A waiter whose notices never arrive."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def arm(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        self.slept.append(timeout_s)
        time.sleep(timeout_s)
        return False

    def fileno(self) -> int | None:
        return None

    def disarm(self) -> None: ...


def ring(name: str) -> RingWriter:
    return RingWriter.create(name, shape=(512,), dtype="<i8", slots=4)


ZERO = np.zeros(512, "<i8")


@pytest.mark.parametrize(
    "waiter", [FutexWaiter, SpinWaiter, HybridWaiter, partial(HybridWaiter, spin_s=1e-3), LostNotices()]
)
def test_every_waiter_wakes_for_the_next_item(ring_name: str, waiter: Waiter | WaiterFactory) -> None:
    """Whatever it sleeps with, a reader gets each of 50 items that come one by one."""
    with ring(ring_name) as writer, RingReader.attach(ring_name, policy="lossless", waiter=waiter) as reader:
        turn = threading.Semaphore(0)

        def write() -> None:
            for _ in range(50):
                turn.acquire()
                writer.write(ZERO)

        thread = threading.Thread(target=write)
        thread.start()
        for sequence in range(50):
            turn.release()
            item = reader.read(10)
            assert item is not None
            assert item.sequence == sequence
        thread.join()


def test_a_lost_notice_costs_one_slice(ring_name: str) -> None:
    """A waiter that is never told is asked again after 20 ms at the latest."""
    waiter = LostNotices()
    with ring(ring_name), RingReader.attach(ring_name, waiter=waiter) as reader:
        assert not reader.wait(0.05)
        assert max(waiter.slept) <= SLICE_S


def test_a_signal_reaches_a_sleeping_reader(ring_name: str) -> None:
    """Ctrl-C ends a wait that would last for ever."""
    with ring(ring_name), RingReader.attach(ring_name) as reader:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            reader.read()
        assert time.monotonic() - began < 5
        timer.join()


def test_the_end_wakes_every_sleeper(ring_name: str) -> None:
    """`end` is news: nobody sleeps through it."""
    with ring(ring_name) as writer:
        readers = [RingReader.attach(ring_name) for _ in range(3)]
        threads = [threading.Thread(target=list, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        writer.end()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        for reader in readers:
            reader.close()
