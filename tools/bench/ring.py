"""Rings beside np.copyto: written alone, read by another process, filled in place.

The baseline copies the same items into the memory of a ring of the same depth, which is the most that a transport that
copies each item once can reach.  All measurements of a payload run in turns, so that other programs and the clock of
the processor disturb them alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np

from shm import RingReader, RingWriter

from .payloads import PAYLOADS, Payload, make_pool
from .rows import Row, bounded, compared

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK: Final = 64
"""Chunks of 1 KB written in one call."""
FLOORS: Final = {"a": 0.75, "b": 0.82, "c": 0.82}
"""Share of np.copyto that a written, copied and fully read item must reach."""
FLOOR_VIEW: Final = {"b": 0.62}
"""The same for items that are only looked at, by a reader that sleeps in between."""
FLOOR_BLOCK: Final = 2.0
"""Blocks must move this many times more chunks than single calls."""
CEILING_US: Final = 0.5
"""Our own time for an item filled in place, µs."""


class BenchError(RuntimeError):
    """An item arrived wrong or not at all: the figure would be worthless."""


class ReaderProcess:
    """`tools.bench.reader` as a child: one order at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "tools.bench.reader"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def order(self, name: str, how: str, count: int, pool: int) -> None:
        """Have the child attach to a ring and read; returns when it is attached."""
        self._stdin.write(json.dumps({"name": name, "how": how, "count": count, "pool": pool}) + "\n")
        if self._stdout.readline().strip() != "ready":
            raise BenchError(f"{name}: the reading process did not start")

    def end_ns(self) -> int:
        """Wait for the last item; return when it was read, CLOCK_MONOTONIC.

        Raises:
            BenchError: the child died, or items were lost or wrong.
        """
        line = self._stdout.readline()
        if not line:
            raise BenchError("the reading process ended before it had read everything")
        report = json.loads(line)
        if report["wrong"] or report["lapped"]:
            raise BenchError(f"{report['wrong']} items wrong, {report['lapped']} lost")
        return int(report["end_ns"])

    @property
    def _stdin(self) -> IO[str]:
        assert self._child.stdin is not None  # noqa: S101  # opened as a pipe above
        return self._child.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._child.stdout is not None  # noqa: S101  # opened as a pipe above
        return self._child.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stdin.close()
        self._stdout.close()
        self._child.terminate()
        self._child.wait()


@dataclass(frozen=True, slots=True)
class Rig:
    """What the measurements of one payload share."""

    payload: Payload
    items: NDArray[Any]
    reader: ReaderProcess
    seconds: float

    @contextmanager
    def ring(self) -> Iterator[RingWriter]:
        """A ring of this payload whose writer waits for its lossless readers."""
        name = f"bench-{os.getpid()}/{self.payload.letter}"
        with RingWriter.create(
            name,
            shape=self.payload.shape,
            dtype=self.payload.dtype,
            slots=self.payload.slots,
            can_wait=True,
            timeout_s=5.0,
        ) as ring:
            yield ring


def rate(some: Callable[[range], object], seconds: float) -> float:
    """Return how many turns a second `some(range)` makes.

    Args:
        some: makes one turn for each number of the range, in a loop of its own: a call per turn would be measured too.
        seconds: how long to measure; ranges grow until they take about a tenth of it.
    """
    done, batch = 0, 1
    begin = time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        some(range(done, done + batch))
        done += batch
        if time.perf_counter() - begin - spent < seconds / 20:
            batch *= 2
    return done / spent


def copy_rate(rig: Rig) -> float:
    """Items a second of np.copyto into a ring's memory, nothing published."""
    sources, pool, copyto = list(rig.items), rig.payload.pool, np.copyto
    with rig.ring() as ring:
        claim = ring.claim(ring.slots)
        with claim as memory:
            targets, slots = list(memory), ring.slots

            def copy(turns: range) -> None:
                for i in turns:
                    copyto(targets[i % slots], sources[i % pool])

            found = rate(copy, rig.seconds)
            claim.publish(0)
    return found


def write_rate(rig: Rig) -> float:
    """Items a second that are written, copied, while nobody reads."""
    sources, pool = list(rig.items), rig.payload.pool
    with rig.ring() as ring:
        put = ring.write

        def write(turns: range) -> None:
            for i in turns:
                put(sources[i % pool])

        return rate(write, rig.seconds)


def moved_rate(rig: Rig, how: str, expected: float) -> float:
    """Items a second that another process reads in the way `how`, written one call an item.

    Args:
        rig: what to move.
        how: a key of `tools.bench.reader.HOW`.
        expected: items a second that the writer reached, for the number of items to move.
    """
    sources, pool = list(rig.items), rig.payload.pool
    count = max(rig.payload.slots, int(expected * rig.seconds))
    with rig.ring() as ring:
        rig.reader.order(ring.name, how, count, pool)
        begin = time.monotonic_ns()
        write = ring.write
        for i in range(count):
            write(sources[i % pool])
        return count / (rig.reader.end_ns() - begin) * 1e9


def block_rate(rig: Rig, expected: float) -> float:
    """Items a second that another process drains in batches, written a block a call."""
    pool = rig.payload.pool
    blocks = [rig.items[i : i + BLOCK] for i in range(0, pool, BLOCK)]
    count = max(1, int(expected * rig.seconds) // BLOCK)
    with rig.ring() as ring:
        rig.reader.order(ring.name, "batches", count * BLOCK, pool)
        begin = time.monotonic_ns()
        for i in range(count):
            ring.write_block(blocks[i % len(blocks)])
        return count * BLOCK / (rig.reader.end_ns() - begin) * 1e9


def claim_us(rig: Rig) -> float:
    """Microseconds of ours for one item filled in place: `with ring.claim(): pass`."""

    def fill(turns: range) -> None:
        for _ in turns:
            with ring.claim():
                pass

    with rig.ring() as ring:
        return 1e6 / rate(fill, rig.seconds)


def view_us(rig: Rig) -> float:
    """Microseconds of ours for one item looked at in place; the time that writing it takes is taken off."""

    def fill_and_look(turns: range) -> None:
        for _ in turns:
            with ring.claim():
                pass
            with reader.view(1):
                pass

    with rig.ring() as ring, RingReader.attach(ring.name, policy="lossless") as reader:
        both = 1e6 / rate(fill_and_look, rig.seconds)
    return both - claim_us(rig)


def measure(seconds: float, repeats: int, report: Callable[[str], None]) -> list[Row]:
    """Measure every payload.

    Args:
        seconds: length of one measurement.
        repeats: rounds; each measures everything once, in turns.
        report: told what is being measured, a line each.

    Returns:
        The rows, payload by payload.

    Raises:
        BenchError: an item was lost or wrong on the way.
    """
    rows: list[Row] = []
    with ReaderProcess() as reader:
        for payload in PAYLOADS:
            report(f"{payload.name}: {repeats} repeats")
            rows += measure_payload(Rig(payload, make_pool(payload), reader, seconds), repeats)
    return rows


def measure_payload(rig: Rig, repeats: int) -> list[Row]:
    """Measure one payload, all ways in turns."""
    letter, name = rig.payload.letter, rig.payload.name
    found: dict[str, list[float]] = {}

    def note(key: str, value: float) -> float:
        found.setdefault(key, []).append(value)
        return value

    for _ in range(repeats):
        note("copy", copy_rate(rig))
        alone = note("write", write_rate(rig))
        note("moved", moved_rate(rig, "items", alone))
        note("viewed", moved_rate(rig, "views", alone))
        if letter == "a":
            note("block", block_rate(rig, alone))
        note("claim", claim_us(rig))
        note("look", view_us(rig))
    rows = [
        compared(f"{name}, write, nobody reads", "items/s", found["write"], found["copy"]),
        compared(f"{name}, write and read, copied", "items/s", found["moved"], found["copy"], FLOORS[letter]),
        compared(f"{name}, write and look, no copy", "items/s", found["viewed"], found["copy"], FLOOR_VIEW.get(letter)),
    ]
    if letter == "a":
        rows.append(
            compared(
                f"{name}, blocks of {BLOCK}, beside single", "items/s", found["block"], found["moved"], FLOOR_BLOCK
            )
        )
    rows.append(bounded(f"{name}, filled in place", "µs", found["claim"], CEILING_US))
    rows.append(bounded(f"{name}, looked at in place", "µs", found["look"], CEILING_US))
    return rows
