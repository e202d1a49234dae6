"""What somebody else may do with a ring: ``python -m support.ring_visitor NAME UID`` prints one JSON line.

The user is changed after the imports, those on demand too: the interpreter may lie where only its owner can go.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from shm import RingObserver, RingReader, RingWriter, ShmError, clean, clock_domain

from .ring_process import WORDS, expected


def become(uid: int) -> None:
    """Give up our rights for good."""
    clock_domain()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def look(name: str) -> str:
    """Look at the newest item."""
    try:
        with RingObserver.attach(name) as ring:
            newest = ring.latest()
            return "right" if np.array_equal(newest.data, expected(newest.sequence)) else "wrong"
    except ShmError as error:
        return type(error).__name__


def attach(name: str) -> str:
    """Register as a reader."""
    try:
        RingReader.attach(name).close()
    except ShmError as error:
        return type(error).__name__
    return "registered"


def create(name: str) -> str:
    """Write the ring oneself."""
    try:
        RingWriter.create(name, shape=(WORDS,), dtype="<u8", slots=16).close()
    except ShmError as error:
        return type(error).__name__
    return "created"


if __name__ == "__main__":
    if os.getuid() == 0:
        become(int(sys.argv[2]))
    ring_name = sys.argv[1]
    report = clean(rig=ring_name.partition("/")[0])
    said = {"look": look(ring_name), "attach": attach(ring_name), "create": create(ring_name)}
    print(json.dumps(said | {"removed": report.removed}), flush=True)
