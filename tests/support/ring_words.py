"""How many shared words a writer touches for one item, by the readers that the ring has.

    python -m support.ring_words RING      with the instrumented build of the extension (tests/shm/conftest.py)

Prints one JSON line: words touched in `ITEMS` writes, for each number of readers of each policy.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np

from shm import RingReader, RingWriter, _native

ITEMS = 1000
READERS = (0, 1, 6, 30)


def touched(name: str, policy: Any, readers: int) -> int:
    """Count for one ring."""
    item = np.zeros(4, "<i8")
    with RingWriter.create(name, shape=(4,), dtype="<i8", slots=4 * ITEMS) as writer, ExitStack() as stack:
        for _ in range(readers):
            stack.enter_context(RingReader.attach(name, policy=policy))
        writer.write(item)  # who gates is looked up once after each join
        _native.shared_words()  # type: ignore[attr-defined]  # of the instrumented build
        for _ in range(ITEMS):
            writer.write(item)
        return int(_native.shared_words())  # type: ignore[attr-defined]


def main() -> None:
    """Print what was counted."""
    policies = ("latest", "drop_oldest", "lossless")
    print(json.dumps({policy: [touched(sys.argv[1], policy, n) for n in READERS] for policy in policies}), flush=True)


if __name__ == "__main__":
    main()
