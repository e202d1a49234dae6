"""A ring beside a list of all that was ever published: every reader sees a part of it, and knows which."""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shm import OverrunError, RingEmptyError, RingReader, RingWriter

ITEM = (512,)  # int64: one page


def items(values: list[int]) -> np.ndarray:
    """Return a block of items that hold these values."""
    return np.repeat(np.array(values, "<i8")[:, None], ITEM[0], axis=1)


class RingMachine(RuleBasedStateMachine):
    """Writes, claims and aborts in any order, with one reader of each policy."""

    runs: ClassVar[int] = 0

    @initialize(slots=st.integers(1, 9), first=st.sampled_from([0, 7, 2**32 - 5, 2**53 - 5]))
    def create(self, slots: int, first: int) -> None:
        RingMachine.runs += 1
        name = f"test-{os.getpid()}/model-{RingMachine.runs}"
        self.first, self.slots = first, slots
        self.published: list[int] = []
        self.claimed = first
        self.ring = RingWriter.create(name, shape=ITEM, dtype="<i8", slots=slots, first=first)
        policies = ("latest", "drop_oldest", "lossless")
        self.readers = {policy: RingReader.attach(name, policy=policy) for policy in policies}
        self.next = dict.fromkeys(policies, first)
        self.counter = 0

    def values(self, n: int) -> list[int]:
        self.counter += n
        return list(range(self.counter - n, self.counter))

    @property
    def end(self) -> int:
        return self.first + len(self.published)

    @property
    def oldest(self) -> int:
        return min(self.end, max(self.first, self.claimed - self.slots))

    @rule(n=st.integers(1, 20))
    def write_block(self, n: int) -> None:
        values = self.values(n)
        assert self.end == self.ring.write_block(items(values), time_ns=self.end, period_ns=1)
        self.published += values
        self.claimed = max(self.claimed, self.end)

    @rule(n=st.integers(1, 9), k=st.integers(0, 9))
    def claim(self, n: int, k: int) -> None:
        n, k = min(n, self.slots), min(k, n, self.slots)
        claim = self.ring.claim(n)
        with claim as run:
            values = self.values(n)
            run[:] = items(values)
            self.claimed = max(self.claimed, self.end + n)
            claim.publish(k, time_ns=self.end, period_ns=1)
        self.published += values[:k]

    @rule(policy=st.sampled_from(["latest", "drop_oldest", "lossless"]), most=st.integers(1, 9))
    def read_into(self, policy: str, most: int) -> None:
        reader = self.readers[policy]
        out, times = np.empty((most, *ITEM), "<i8"), np.empty(most, "<i8")
        count = reader.read_into(out, times)
        first = reader.position - count
        assert (count > 0) == (self.oldest < self.end and self.next[policy] < self.end)
        self.check(policy, first, out[:count], times[:count])

    @rule(policy=st.sampled_from(["latest", "drop_oldest", "lossless"]))
    def read(self, policy: str) -> None:
        item = self.readers[policy].read(0)
        if item is not None:
            self.check(policy, item.sequence, item.data[None], np.array([item.time_ns]))

    @rule(
        policy=st.sampled_from(["latest", "drop_oldest", "lossless"]), most=st.integers(1, 9), behind=st.integers(0, 3)
    )
    def view(self, policy: str, most: int, behind: int) -> None:
        with self.readers[policy].view(most) as run:
            data, times, first = run.data.copy(), run.times.copy(), run.first
            for _ in range(behind):
                self.write_block(1)
        if run.count:
            lost = max(0, min(run.count, self.claimed - self.slots - first))
            assert run.good == (lost == 0)
            self.check(policy, first, data, times)

    @rule(n=st.integers(1, 12))
    def window(self, n: int) -> None:
        reader = self.readers["latest"]
        try:
            run = reader.window(n)
        except RingEmptyError:
            assert not self.published
        except OverrunError:
            assert self.oldest == self.end
        else:
            count = min(n, self.end - self.oldest)
            assert (run.first, run.count) == (self.end - count, count)
            assert run.data[:, 0].tolist() == self.published[-count:]

    def check(self, policy: str, first: int, data: np.ndarray, times: np.ndarray) -> None:
        assert first >= self.next[policy]
        if len(data):
            at = first - self.first
            assert data[:, 0].tolist() == self.published[at : at + len(data)] == data[:, -1].tolist()
            assert times.tolist() == list(range(first, first + len(data)))
        self.next[policy] = first + len(data)

    @invariant()
    def every_item_is_in_one_count(self) -> None:
        for reader in getattr(self, "readers", {}).values():
            counted = reader.taken + reader.skipped + reader.lapped + reader.torn
            assert reader.position == self.first + counted
            assert reader.lag == self.end - reader.position
            assert reader.oldest == self.oldest
        assert not hasattr(self, "ring") or (self.ring.published, self.ring.claimed) == (self.end, self.claimed)

    def teardown(self) -> None:
        for reader in getattr(self, "readers", {}).values():
            reader.close()
        if hasattr(self, "ring"):
            self.ring.close()


class TestRingModel(RingMachine.TestCase):  # type: ignore[misc,name-defined]  # made by hypothesis
    """Run the machine."""

    settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
