"""The ends of a ring as processes of their own, with items that prove themselves.

    python -m support.ring_process write NAME '{"shape": [64], "slots": 16, …}'
    python -m support.ring_process read NAME '{"policy": "lossless", …}'

Every word of an item follows from its sequence and its place: a byte of another item anywhere in it is found.  Each
process prints one JSON line when it is ready and one when it has ended; a writer is told by a line to begin and to end.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

import numpy as np

from shm import RingReader, RingWriter, clock_domain

WORDS = 512
_PATTERN = np.random.default_rng(1).integers(0, 2**63, WORDS, dtype="<u8")


def expected(sequence: int) -> np.ndarray:
    """Return the item of that sequence."""
    return _PATTERN ^ np.uint64(sequence * 0x9E3779B97F4A7C15 % 2**64)


def say(**facts: Any) -> None:
    """Print one line for the parent."""
    print(json.dumps(facts), flush=True)


def write(name: str, options: dict[str, Any]) -> None:
    """Write in all four ways, from the first line on stdin to the second, or up to `count`."""
    count = options.pop("count", None)
    rng = np.random.default_rng(options.pop("seed", 0))
    ring = RingWriter.create(name, shape=(WORDS,), dtype="<u8", **options)
    say(ready=ring.published, epoch=ring.epoch, birth=ring.birth)
    sys.stdin.readline()
    while not select.select([sys.stdin], [], [], 0)[0] and (count is None or ring.published < count):
        write_some(ring, rng)
    published = ring.published
    ring.close()
    say(published=published)


def overwrite(name: str, options: dict[str, Any]) -> None:
    """Fill the ring, then hang in a claim that overwrites the oldest four items."""
    ring = RingWriter.create(name, shape=(WORDS,), dtype="<u8", **options)
    for n in range(ring.slots):
        ring.write(expected(n))
    with ring.claim(4) as run:
        run[:] = 0
        say(published=ring.published)
        sys.stdin.readline()


def write_some(ring: RingWriter, rng: np.random.Generator) -> None:
    first, n = ring.published, int(rng.integers(1, max(2, ring.slots // 4)))
    match rng.integers(0, 4):
        case 0:
            ring.write(expected(first))
        case 1:
            ring.write_block(np.stack([expected(first + i) for i in range(n)]))
        case 2:
            with ring.claim(n) as run:
                for i in range(n):
                    run[i] = expected(first + i)
        case _:
            claim = ring.claim(n)
            with claim as run:
                run[:] = 0xDEAD  # an aborted or short claim leaves bytes that nobody may take for an item
                for i in range(n // 2):
                    run[i] = expected(first + i)
                claim.publish(n // 2)


def read(name: str, options: dict[str, Any]) -> None:
    """Read to the end by policy, in all three ways, and count what is wrong."""
    rng = np.random.default_rng(options.pop("seed", 0))
    slow_s = options.pop("slow_s", 0.0)
    user = options.pop("user", None)
    if user is not None:
        clock_domain()  # what it imports must be there before we may not read it any more
        os.setresuid(user, user, user)
    ring = RingReader.attach(name, wait_for_s=10, **options)
    began = ring.position
    say(ready=began)
    wrong, out, last = 0, np.empty((4, WORDS), "<u8"), -1
    while ring.wait(0.5) or ring.writer_alive:
        wrong, last = _read_some(ring, rng, out, wrong, last)
        if slow_s:
            time.sleep(slow_s)
        if ring.lag == 0 and ring.ended:
            break
    counts = {n: getattr(ring, n) for n in ("taken", "skipped", "lapped", "torn", "position")}
    say(wrong=wrong, began=began, demoted=ring.demoted, published=ring.published, **counts)
    ring.close()


def _read_some(ring: RingReader, rng: np.random.Generator, out: np.ndarray, wrong: int, last: int) -> tuple[int, int]:
    match rng.integers(0, 3):
        case 0:
            item = ring.read(0)
            if item is not None:
                wrong += item.sequence <= last or not np.array_equal(item.data, expected(item.sequence))
                last = item.sequence
        case 1:
            count = ring.read_into(out)
            first = ring.position - count
            wrong += sum(not np.array_equal(out[i], expected(first + i)) for i in range(count))
            last = max(last, first + count - 1) if count else last
        case _:
            with ring.view(8) as run:
                copies = [run.data[i].copy() for i in range(run.count)]
            if run.good:
                wrong += sum(not np.array_equal(c, expected(run.first + i)) for i, c in enumerate(copies))
            last = max(last, run.first + run.count - 1)
    return wrong, last


if __name__ == "__main__":
    {"write": write, "read": read, "overwrite": overwrite}[sys.argv[1]](sys.argv[2], json.loads(sys.argv[3]))
