"""A writer and six readers that are stopped and killed without end, and check all that they are given.

    python -m support.ring_torture NAME '{"seed": 1, "seconds": 20, "can_wait": true}'

Processes are forked from this one, which holds no ring, and replaced when they were killed. Each checks every item byte
by byte, and after every call the account: what lies between two items that it got is exactly what the ring counted as
lost. Whatever is wrong is appended to a file at once, because the next moment may be the last. One JSON line tells all.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shm import OverrunError, RingEmptyError, RingReader, RingWriter, clean, list_segments

from .ring_process import WORDS, expected, write_some

EVERY_S = 0.05
TIMEOUT_S = 2.0
SHORT_S, LONG_S = 0.3, 1.2 * TIMEOUT_S
"""Stops: short ones cost a lossless reader nothing, the long ones of one reader do."""
DRAIN_S = 30.0
POLICIES = ("lossless", "lossless", "lossless", "drop_oldest", "drop_oldest", "latest")
LONG = 2
"""The lossless reader that is stopped for longer than the writer waits."""


class Checked:
    """A reader that believes nothing.

    Args:
        ring: to read.
        rng: how.
        complain: called with what is wrong.
        is_floating: its start is the oldest item, whichever that is when it first reads.
    """

    def __init__(
        self, ring: RingReader, rng: np.random.Generator, complain: Callable[[str], None], *, is_floating: bool
    ) -> None:
        self.ring, self.rng, self.complain = ring, rng, complain
        self.began = self.next = ring.position
        self.lost_before = ring.lapped
        self.got = self.gaps = 0
        self.is_floating = is_floating
        self.out = np.empty((5, WORDS), "<u8")

    def step(self) -> None:
        """Read some, in one of four ways."""
        match self.rng.integers(0, 4):
            case 0:
                item = self.ring.read(0)
                if item is not None:
                    self._take(item.sequence, item.data)
            case 1:
                count = self.ring.read_into(self.out[: self.rng.integers(1, 6)])
                for n in range(count):
                    self._take(self.ring.position - count + n, self.out[n])
            case 2:
                self._look()
            case _:
                self._newest()
        self._account()

    def _look(self) -> None:
        torn = self.ring.torn
        with self.ring.view(int(self.rng.integers(1, 9))) as run:
            copies = run.data.copy()
        bad = self.ring.torn - torn
        if run.good != (bad == 0):
            self.complain(f"view says good={run.good} and counts {bad} torn")
        for n in range(bad, run.count):
            self._take(run.first + n, copies[n])

    def _newest(self) -> None:
        try:
            run = self.ring.window(int(self.rng.integers(1, 5)))
        except (OverrunError, RingEmptyError):
            return
        for n in range(run.count):
            if not np.array_equal(run.data[n], expected(run.first + n)):
                self.complain(f"window returned a torn item {run.first + n}")

    def _take(self, sequence: int, data: np.ndarray) -> None:
        if self.is_floating:
            self.is_floating = False
            self.began = self.next = sequence - self._lost()
        if sequence < self.next:
            self.complain(f"item {sequence} came again, expected {self.next}")
        if not np.array_equal(data, expected(sequence)):
            self.complain(f"a torn item {sequence} was returned as good")
        self.gaps += sequence - self.next
        self.next = sequence + 1
        self.got += 1

    def _lost(self) -> int:
        return self.ring.skipped + self.ring.lapped + self.ring.torn - self.lost_before

    def _account(self) -> None:
        if self.is_floating:
            return
        ring, lost = self.ring, self._lost()
        if (self.got, self.gaps + ring.position - self.next, ring.position - self.began) != (
            ring.taken,
            lost,
            ring.taken + lost,
        ):
            self.complain(f"the account is wrong: {ring.statistics()} got={self.got} gaps={self.gaps} next={self.next}")


class Torture:
    """The processes and what is done to them."""

    def __init__(self, name: str, seed: int, seconds: float, *, can_wait: bool) -> None:
        self.name, self.seconds, self.can_wait = name, seconds, can_wait
        self.rng = random.Random(seed)
        self.slots = self.rng.choice([8, 16, 64])
        self.stopping, self.stop = os.pipe()
        created, self.path = tempfile.mkstemp()
        os.close(created)
        self.log = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self.pids: dict[int, int] = {}
        self.stopped: dict[int, float] = {}
        self.spared: dict[int, float] = {}
        self.counts = {"kills": 0, "stops": 0}

    def run(self) -> dict[str, Any]:
        """Torture for a while, let all drain, and return what happened."""
        for index in range(len(POLICIES) + 1):
            self._start(index)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            self._resume(time.monotonic())
            self._harm(time.monotonic())
        self._resume(float("inf"))
        os.close(self.stop)
        hung = self._drained()
        said = [_told(line) for line in Path(self.path).read_text(encoding="utf-8").splitlines()]
        Path(self.path).unlink()
        removed = clean(rig=self.name.partition("/")[0]).removed
        left = [info.full_name for info in list_segments(self.name)]
        return {**self.counts, "said": said, "hung": hung, "removed": removed, "left": left}

    def _harm(self, now: float) -> None:
        index = self.rng.randrange(len(POLICIES) + 1)
        if index == LONG and index in self.stopped:
            return
        if self.rng.random() < 0.3:
            os.kill(self.pids[index], signal.SIGKILL)
            self.stopped.pop(index, None)
            self._reap(index)
            self._start(index)
            self.counts["kills"] += 1
            return
        if index in self.stopped or now < self.spared.get(index, 0):
            return
        os.kill(self.pids[index], signal.SIGSTOP)
        for_s = LONG_S if index == LONG and self.rng.random() < 0.2 else self.rng.uniform(0.01, SHORT_S)
        self.stopped[index] = now + for_s
        self.counts["stops"] += 1

    def _resume(self, now: float) -> None:
        for index in [index for index, until in self.stopped.items() if now >= until]:
            os.kill(self.pids[index], signal.SIGCONT)
            del self.stopped[index]
            self.spared[index] = now + SHORT_S  # a row of short stops is a long one

    def _start(self, index: int) -> None:
        seed = self.rng.randrange(2**32)
        pid = os.fork()
        if pid:
            self.pids[index] = pid
            return
        os.close(self.stop)
        try:
            self._write(seed) if index == len(POLICIES) else self._read(index, seed)
        except BaseException:
            self._say(wrong=traceback.format_exc())
        finally:
            os._exit(0)

    def _write(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        options = {"slots": self.slots, "can_wait": self.can_wait, "timeout_s": TIMEOUT_S}
        ring = RingWriter.create(self.name, shape=(WORDS,), dtype="<u8", **options)
        while not self._is_over():
            write_some(ring, rng)
        self._say(published=ring.published, epoch=ring.epoch, statistics=str(ring.statistics()))
        ring.close(unlink=False)

    def _read(self, index: int, seed: int) -> None:
        rng, policy = np.random.default_rng(seed), POLICIES[index]
        start = "oldest" if rng.integers(0, 2) else "newest"
        ring = RingReader.attach(self.name, policy=policy, start=start, reader=f"r{index}", wait_for_s=DRAIN_S)  # type: ignore[arg-type]
        is_floating = start == "oldest" and policy != "lossless"
        checked = Checked(ring, rng, lambda what: self._say(wrong=f"{policy}: {what}"), is_floating=is_floating)
        must_not_lose = policy == "lossless" and self.can_wait and index != LONG
        while not (ring.ended and ring.lag == 0):
            ring.wait(0.1)
            checked.step()
            if must_not_lose and (ring.lapped + ring.torn or ring.demoted):
                self._say(wrong=f"it was left behind though it was never stopped for long: {ring!r}")
                must_not_lose = False
        self._say(policy=policy, position=ring.position, published=ring.published, took=checked.got)
        ring.close()

    def _is_over(self) -> bool:
        return bool(select.select([self.stopping], [], [], 0)[0])

    def _say(self, **facts: Any) -> None:
        os.write(self.log, (json.dumps(facts) + "\n").encode())

    def _reap(self, index: int) -> None:
        os.waitpid(self.pids.pop(index), 0)

    def _drained(self) -> list[int]:
        """Wait until all have ended by themselves; kill and return those that have not."""
        deadline = time.monotonic() + DRAIN_S
        while self.pids and time.monotonic() < deadline:
            for index, pid in list(self.pids.items()):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del self.pids[index]
            time.sleep(0.01)
        hung = sorted(self.pids)
        for index in hung:
            os.kill(self.pids[index], signal.SIGKILL)
            self._reap(index)
        return hung


def _told(line: str) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"wrong": f"killed while it complained: {line}"}
    return facts


if __name__ == "__main__":
    print(json.dumps(Torture(sys.argv[1], **json.loads(sys.argv[2])).run()), flush=True)
