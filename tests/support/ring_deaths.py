"""Ends of a ring that die at every labelled point of what they do, one after the other, and what the others then see.

    python -m support.ring_deaths PREFIX SCENARIO      with the test build of the extension (see test_kill_points.py)

A scenario sets a ring up, lets a forked victim do one thing and die at the n-th point of it, and then goes on with the
ring as its users would. It prints one JSON line: the points, and the deaths that somebody did not survive. The victim
shares the locks of ends that were made before the fork; it gives nothing back but its life, so they stay ours.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from shm import BlobReader, BlobWriter, RingReader, RingWriter, _native, salvage
from shm.layout import TABLE, offset_of

from .ring_process import WORDS, expected

SLOTS = 4
BEFORE = 6
"""Items that are written before the victim comes."""
Ends = dict[str, Any]


def create(name: str, **options: Any) -> RingWriter:
    """Create the ring, or take it over."""
    given = {"slots": SLOTS, "can_wait": True, "timeout_s": 5.0} | options
    return RingWriter.create(name, shape=(WORDS,), dtype="<u8", **given)


def lossless(name: str) -> RingReader:
    """Join at the oldest item."""
    return RingReader.attach(name, policy="lossless", start="oldest", reader="survivor")


class Survivors:
    """A ring with items, and readers of two policies: one gates."""

    def __init__(self, name: str, *, writer_lives: bool, room: int = 4, **options: Any) -> None:
        self.name, self.options = name, options
        self.writer: RingWriter | None = create(name, **options)
        for n in range(BEFORE):
            self.writer.write(expected(n))
        self.birth = self.writer.birth
        self.lossless = lossless(name)
        self.lossy = RingReader.attach(name, policy="drop_oldest", start="oldest", reader="lossy")
        for _ in range(room):
            assert self.lossless.read(0) is not None
        self.lossless._arm(_native.ARMED_FUTEX)
        if not writer_lives:
            self.writer.close(unlink=False)
            self.writer = None

    def go_on(self) -> None:
        """Find the ring whole, write on, and let old and new readers read."""
        if self.writer is None:
            found = salvage(self.name)
            assert all(np.array_equal(i, expected(found.first + k)) for k, i in enumerate(found.items))
            self.writer = create(self.name, **self.options)
        began = time.monotonic()
        published = self.writer.published
        was_demoted = self.lossless.demoted
        assert (published in range(BEFORE, BEFORE + 4), self.writer.birth) == (True, self.birth)
        with lossless(self.name) as newcomer:
            for n in range(published, published + 3 * SLOTS):
                for reader in (self.lossless, self.lossy, newcomer):
                    self._read_all(reader)
                self.writer.write(expected(n))
                self._read_all(newcomer)
            assert (newcomer.lapped, newcomer.torn, newcomer.position) == (0, 0, self.writer.published)
        demotions = sum(row.demotions for row in self.writer.readers() if row.name == "survivor")
        lost = self.lossless.lapped + self.lossless.torn
        assert lost == 0 or demotions or was_demoted, f"lost {lost} without being demoted"
        assert time.monotonic() - began < 2.0, "it took too long"

    def _read_all(self, reader: RingReader) -> None:
        while (item := reader.read(0)) is not None:
            assert np.array_equal(item.data, expected(item.sequence)), f"item {item.sequence} is torn"
        counted = reader.taken + reader.skipped + reader.lapped + reader.torn
        assert reader.position - counted in range(BEFORE + 4), "an item is in no count, or in two"

    def close(self) -> None:
        """Leave nothing."""
        self.lossless.close()
        self.lossy.close()
        if self.writer is not None:
            self.writer.close()
        else:
            create(self.name, **self.options).close()


def lives_on(name: str, at: int, victim: Callable[[Survivors, int], None], **setup: Any) -> list[str]:
    """Let one victim die at a point; return the points if it was not to die."""
    survivors = Survivors(name, **setup)
    try:
        labels = die(lambda: victim(survivors, at), at)
        survivors.go_on()
    finally:
        survivors.close()
    return labels


def die(victim: Callable[[], None], at: int) -> list[str]:
    """Run the victim in a process of its own; it must die at its point, or live if `at` is 0."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            victim()
            os.write(writing, json.dumps(_native.points()).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if at else 0), f"the victim ended with {status}"
    return json.loads(said) if said else []


# What victims do ----------------------------------------------------------------------------------------------------


def write(survivors: Survivors, at: int) -> None:
    ring = create(survivors.name)
    _native.die_at_point(at)
    ring.write(expected(ring.published))


def write_block(survivors: Survivors, at: int) -> None:
    ring = create(survivors.name)
    _native.die_at_point(at)
    ring.write_block(np.stack([expected(ring.published + n) for n in range(3)]))


def claim(survivors: Survivors, at: int) -> None:
    ring = create(survivors.name)
    _native.die_at_point(at)
    run = ring.claim(2)
    with run as view:
        view[1] = 0
        view[0] = expected(ring.published)
        run.publish(1)


def take_over(survivors: Survivors, at: int) -> None:
    _native.die_at_point(at)
    create(survivors.name, **survivors.options)


def demote(survivors: Survivors, at: int) -> None:
    ring = create(survivors.name, timeout_s=0.02)
    _native.die_at_point(at)
    ring.write(expected(ring.published))


def reap(survivors: Survivors, at: int) -> None:
    assert survivors.writer is not None
    dead = os.fork()
    if dead == 0:
        lossless(survivors.name)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(dead, 0)
    _native.die_at_point(at)
    survivors.writer.write(expected(survivors.writer.published))


def join(survivors: Survivors, at: int) -> None:
    assert survivors.writer is not None
    survivors.writer._ring.table.store(offset_of(TABLE, "wanted"), 0)  # as if the writer slept
    _native.die_at_point(at)
    with RingReader.attach(survivors.name, policy="lossless", start="oldest") as reader:
        reader.read(0)
        reader.read(0)
        reader.seek(BEFORE - SLOTS)
        reader.read(0)


def promote(survivors: Survivors, at: int) -> None:
    assert survivors.writer is not None
    reader = lossless(survivors.name)
    survivors.writer._timeout_ns = 0
    survivors.writer.write(expected(BEFORE))
    assert reader.demoted
    _native.die_at_point(at)
    while reader.read(0) is not None:
        pass
    assert not reader.demoted


# Rings that are made, not gone on with ------------------------------------------------------------------------------


def create_anew(name: str, at: int) -> list[str]:
    """A creator that dies leaves a name that does not block the next."""

    def victim() -> None:
        _native.die_at_point(at)
        create(name)

    labels = die(victim, at)
    with create(name) as ring, lossless(name) as reader:
        ring.write(expected(ring.published))
        item = reader.read(0)
        assert item is not None
        assert np.array_equal(item.data, expected(0))
    return labels


def supersede(name: str, at: int) -> list[str]:
    """Whoever replaces a dead writer's ring by another and dies: readers of the old one learn of it sooner or later."""
    create(name).close(unlink=False)
    with lossless(name) as old:

        def victim() -> None:
            _native.die_at_point(at)
            create(name, slots=2 * SLOTS)

        labels = die(victim, at)
        with create(name, slots=2 * SLOTS) as ring:
            assert (ring.slots, old.is_superseded, old.read(0)) == (2 * SLOTS, True, None)
            assert ring.birth != old.birth
    return labels


def write_blob(name: str, at: int) -> list[str]:
    """A blob of two parts and its length."""

    def blob(n: int) -> bytes:
        return bytes([n]) * (n + 1)

    def ring() -> BlobWriter:
        return BlobWriter.create(name, max_bytes=4096, slots=SLOTS, can_wait=True)

    with ring() as first:
        for n in range(BEFORE):
            first.write(blob(n))
        first.close(unlink=False)
    with BlobReader.attach(name, policy="drop_oldest", start="oldest") as reader:

        def victim() -> None:
            second = ring()
            _native.die_at_point(at)
            second.write(blob(BEFORE)[:2], blob(BEFORE)[2:])

        labels = die(victim, at)
        with ring() as third:
            while third.published < BEFORE + 2 * SLOTS:
                third.write(blob(third.published))
                while (found := reader.read(0)) is not None:
                    assert found.data == blob(found.sequence)
    return labels


SCENARIOS: dict[str, Callable[[str, int], list[str]]] = {
    "write": lambda name, at: lives_on(name, at, write, writer_lives=False),
    "write_block": lambda name, at: lives_on(name, at, write_block, writer_lives=False),
    "claim": lambda name, at: lives_on(name, at, claim, writer_lives=False),
    "write_blob": write_blob,
    "demote": lambda name, at: lives_on(name, at, demote, writer_lives=False, room=0),
    "reap": lambda name, at: lives_on(name, at, reap, writer_lives=True),
    "join": lambda name, at: lives_on(name, at, join, writer_lives=True),
    "promote": lambda name, at: lives_on(name, at, promote, writer_lives=True),
    "take_over": lambda name, at: lives_on(name, at, take_over, writer_lives=False),
    "create": create_anew,
    "supersede": supersede,
}


def main(prefix: str, scenario: str) -> None:
    run = SCENARIOS[scenario]
    points = run(f"{prefix}/0", 0)
    failed = []
    for at in range(1, len(points) + 1):
        try:
            run(f"{prefix}/{at}", at)
        except Exception:
            failed.append([at, points[at - 1], traceback.format_exc()])
    print(json.dumps({"points": points, "failed": failed}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
