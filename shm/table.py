"""The reader table: who reads a ring, how far they are, and what they lost.

An entry's state word holds ``pid << 32 | generation << 8 | kind`` and changes only by compare-exchange:

    FREE -> JOINING -> ACTIVE | LOSSLESS      the joining reader, which holds the entry's lock
    LOSSLESS -> DEMOTED                       the writer, when the reader would hold it up
    DEMOTED -> LOSSLESS                       the reader, when it has caught up
    any -> FREE (generation + 1)              the owner on leaving, or the writer holding the lock of a dead one

A stopped reader keeps its lock, so its entry is never given to another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from . import _native, locks
from .errors import SpecError, TableFullError
from .layout import ENTRY, ENTRY_DTYPE, READERS, TABLE, TABLE_WORDS_BYTES, offset_of
from .process import own_identity
from .ring import Ring, entry_offset, word
from .segment import array_of

Policy = Literal["latest", "drop_oldest", "lossless"]
POLICIES: Final[tuple[Policy, ...]] = ("latest", "drop_oldest", "lossless")
NAMES: Final = {
    _native.FREE: "free",
    _native.JOINING: "joining",
    _native.ACTIVE: "active",
    _native.LOSSLESS: "lossless",
    _native.DEMOTED: "demoted",
}
_STATE: Final = offset_of(ENTRY, "state")
_POSITION: Final = offset_of(ENTRY, "position")
_GENERATIONS: Final = 2**24
_KIND: Final = 0xFF


@dataclass(frozen=True, slots=True)
class ReaderRow:
    """One reader, as the table shows it.

    Attributes:
        index: entry of the table.
        name: what the reader calls itself, e.g. "recorder".
        state: joining, active, lossless or demoted.
        policy: latest, drop_oldest or lossless.
        is_alive: its lock is held.
        pid: its process, for display.
        position: the sequence that it reads next.
        lag: published items that it has not taken.
        skipped: items passed over by policy latest.
        lapped: items lost.
        torn: items overwritten while it used them.
        taken: items read and good.
        demotions: times that it was left behind.
        joined_ns: CLOCK_MONOTONIC of joining.
    """

    index: int
    name: str
    state: str
    policy: Policy
    is_alive: bool
    pid: int
    position: int
    lag: int
    skipped: int
    lapped: int
    torn: int
    taken: int
    demotions: int
    joined_ns: int


def pack_state(pid: int, generation: int, kind: int) -> int:
    """Return a state word."""
    return pid << 32 | (generation % _GENERATIONS) << 8 | kind


def kind_of(state: int) -> int:
    """Return the kind in a state word: FREE, JOINING, ACTIVE, LOSSLESS or DEMOTED."""
    return state & _KIND


def generation_of(state: int) -> int:
    """Return how often the entry was given back."""
    return state >> 8 & (_GENERATIONS - 1)


def pid_of(state: int) -> int:
    """Return the owner's pid."""
    return state >> 32


class Entry:
    """Our own entry: taken on joining, given back on leaving."""

    __slots__ = ("_base", "_record", "_ring", "index")

    def __init__(self, ring: Ring, index: int) -> None:
        self._ring = ring
        self.index = index
        self._base = entry_offset(index)
        self._record = _records(ring)[index : index + 1]

    @classmethod
    def take(cls, ring: Ring) -> Entry:
        """Lock a free entry, or one whose owner died.

        Raises:
            TableFullError: every entry belongs to a live reader.
        """
        for index in range(READERS):
            if locks.lock_reader(ring.segment.fd, index):
                entry = cls(ring, index)
                return entry.begin()
        owners = ", ".join(f"{row.name or '?'} (pid {row.pid})" for row in rows(ring))
        raise TableFullError(f"{ring.name}: all {READERS} readers are alive: {owners}; close one first")

    def begin(self) -> Self:
        """Make the entry ours; with its lock held nobody else changes it but a writer that demotes the dead owner."""
        while True:
            state = self._load()
            if self._swap(state, pack_state(os.getpid(), generation_of(state) + 1, _native.JOINING)):
                return self

    def describe(self, name: str, policy: Policy) -> None:
        """Write who we are; before the native join."""
        encoded = name.encode()
        if len(encoded) > ENTRY_DTYPE["name"].itemsize:
            raise SpecError(f"reader={name!r}: at most {ENTRY_DTYPE['name'].itemsize} bytes of UTF-8")
        _, start, namespace = own_identity()
        record = self._record
        for field in ("demoted", "skipped", "lapped", "torn", "taken"):
            record[field] = 0
        record["name"], record["policy"] = encoded, POLICIES.index(policy)
        record["start"], record["namespace"], record["joined_ns"] = start, namespace, time.monotonic_ns()

    def release(self) -> None:
        """Give the entry back."""
        while True:
            state = self._load()
            if self._swap(state, pack_state(0, generation_of(state) + 1, _native.FREE)):
                break
        wake_waiting_writer(self._ring)
        locks.unlock_reader(self._ring.segment.fd, self.index)

    def _load(self) -> int:
        return self._ring.table.load(self._base + _STATE)

    def _swap(self, state: int, desired: int) -> bool:
        return self._ring.table.compare_exchange(self._base + _STATE, state, desired)


def wake_waiting_writer(ring: Ring) -> None:
    """Let a writer that waits for room look again: a reader left."""
    if ring.table.exchange(offset_of(TABLE, "wanted"), 2**64 - 1) != 2**64 - 1:
        ring.table.wake(offset_of(TABLE, "rooms"))


def blockers(ring: Ring, upto: int) -> Iterator[tuple[int, int]]:
    """Yield (index, state) of each lossless reader that a claim up to `upto` would lap."""
    for index in range(READERS):
        base = entry_offset(index)
        state = ring.table.load(base + _STATE)
        if kind_of(state) == _native.LOSSLESS and upto > ring.table.load(base + _POSITION) + ring.spec.geometry.slots:
            yield index, state


def reap(ring: Ring, index: int, state: int) -> bool:
    """Free the entry of a dead reader; False if it lives (or somebody else was faster)."""
    if not locks.lock_reader(ring.segment.fd, index):
        return False
    freed = ring.table.compare_exchange(
        entry_offset(index) + _STATE, state, pack_state(0, generation_of(state) + 1, _native.FREE)
    )
    locks.unlock_reader(ring.segment.fd, index)
    return freed


def demote(ring: Ring, index: int, state: int) -> bool:
    """Stop waiting for a lossless reader; False if it changed meanwhile."""
    base = entry_offset(index)
    if not ring.table.compare_exchange(
        base + _STATE, state, pack_state(pid_of(state), generation_of(state), _native.DEMOTED)
    ):
        return False
    ring.table.fetch_add(base + offset_of(ENTRY, "demoted"), 1)
    return True


def slowest(ring: Ring) -> int | None:
    """Return the position of the lossless reader that is furthest behind and lives, None if there is none."""
    records = _records(ring)
    waited_for = np.flatnonzero((records["state"] & _KIND) == _native.LOSSLESS).tolist()
    alive = [index for index in waited_for if locks.is_reader_alive(ring.segment.fd, index)]
    return min((int(records["position"][index]) for index in alive), default=None)


def rows(ring: Ring) -> list[ReaderRow]:
    """Return every entry in use; numbers of live readers move while they are read."""
    published = ring.words.load(word("published"))
    records = _records(ring)
    found = []
    for index in np.flatnonzero(records["state"] & _KIND).tolist():
        record = records[index]
        state = int(record["state"])
        if kind_of(state) == _native.FREE:
            continue
        position = int(record["position"])
        found.append(
            ReaderRow(
                index=index,
                name=bytes(record["name"]).decode(errors="replace"),
                state=NAMES.get(kind_of(state), "?"),
                policy=POLICIES[min(int(record["policy"]), len(POLICIES) - 1)],
                is_alive=locks.is_reader_alive(ring.segment.fd, index),
                pid=pid_of(state),
                position=position,
                lag=max(0, published - position),
                skipped=int(record["skipped"]),
                lapped=int(record["lapped"]),
                torn=int(record["torn"]),
                taken=int(record["taken"]),
                demotions=int(record["demoted"]),
                joined_ns=int(record["joined_ns"]),
            )
        )
    return found


def _records(ring: Ring) -> np.ndarray[Any, Any]:
    return array_of(ring.table, ENTRY_DTYPE, READERS, TABLE_WORDS_BYTES)
