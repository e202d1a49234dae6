"""Reads mutated segment files in a process of its own: HDF5 is C, and a file can take its process with it.

``python segment_fuzz.py FILE START COUNT SEED``: prints a line for each mutation; one that takes too long ends it.
"""

from __future__ import annotations

import faulthandler
import random
import sys
from pathlib import Path

from support.mutations import WORDS

from stations.recording.errors import SegmentFormatError
from stations.recording.segment_reader import SegmentReader

LONGEST_S = 2.0


def spoil(whole: bytes, rng: random.Random) -> bytes:
    """Flip bits, overwrite with border words, cut, or move a piece."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, kind = rng.randrange(len(data)), rng.randrange(5)
        if kind < 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            word = rng.choice(WORDS)[:64]
            data[at : at + len(word)] = word
        elif kind == 3:
            size, source = rng.choice((8, 64, 512)), rng.randrange(len(data))
            data[at : at + size] = data[source : source + size]
        elif rng.random() < 0.3:
            del data[max(at, 512) :]
    return bytes(data)


def read(path: Path) -> str:
    """Read all of a file, as `verify` and `recover` do; return what came of it."""
    try:
        with SegmentReader(path) as segment:
            bad = 0
            for index in range(len(segment.rows)):
                try:
                    chunk = segment.chunk(index)
                    segment.decode(chunk)
                    bad += not segment.is_whole(chunk)
                except SegmentFormatError:
                    bad += 1
            return "damaged" if bad or segment.damage else "read"
    except SegmentFormatError:
        return "refused"


def main() -> None:
    """Mutate and read from number `START` on; a line for each."""
    path, start, count, seed = Path(sys.argv[1]), *map(int, sys.argv[2:])
    whole, spoilt = path.read_bytes(), path.with_suffix(".spoilt.h5")
    for number in range(start, count):
        spoilt.write_bytes(spoil(whole, random.Random(seed * 1_000_000 + number)))
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        try:
            print(read(spoilt), flush=True)
        except Exception as error:
            print(f"{number} {error!r}", flush=True)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
