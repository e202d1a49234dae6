"""Both ends of the wire for tests: a Terminal and a Pilot on loopback, and what waits for them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.block import Block
from pipeline.forward import Forwarder
from pipeline.ingest import Ingest
from pipeline.transport import Context
from shm import BlobReader, Counters, RingWriter, SegmentNotFoundError

_numbers = itertools.count()
STREAM = "pilot1.cam0"


def rig_name() -> str:
    """Return a rig's name that no other test has."""
    return f"test-{os.getpid()}-{next(_numbers)}"


def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until a condition holds; fail with its name when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}"
        time.sleep(0.002)


def signal_ring(rig: str, *, slots: int = 4096, can_wait: bool = False, **meta: Any) -> RingWriter:
    """Return a ring of two int32 channels at 1 kHz: blocks of 64 items."""
    return RingWriter.create(
        f"{rig}/{STREAM}", shape=(2,), dtype="<i4", slots=slots, can_wait=can_wait, meta={"rate": 1000.0, **meta}
    )


def samples(first: int, count: int) -> NDArray[np.int32]:
    """Return items that prove themselves: their sequence, and a hash of it."""
    sequences = np.arange(first, first + count, dtype=np.int64)
    return np.stack([sequences, sequences * 2654435761 % 2**31], axis=1).astype("<i4")


def write(ring: RingWriter, count: int) -> None:
    """Publish `count` more samples, 1 ms apart."""
    first = ring.published
    ring.write_block(samples(first, count), time_ns=first * 1_000_000, period_ns=1_000_000)


@dataclass
class Wire:
    """A Terminal and a Pilot."""

    rig: str = field(default_factory=rig_name)

    def __post_init__(self) -> None:
        self.terminal_context, self.pilot_context = Context(), Context()
        self.counters = Counters.create(f"{self.rig}/counters")
        self.ingest: Ingest | None = None
        self.endpoint = "tcp://127.0.0.1:0"
        self.start_terminal()
        self.forwarder = Forwarder("pilot1", self.rig, self.pilot_context, self.endpoint, self.counters)

    @property
    def ring_name(self) -> str:
        return f"{self.rig}/T/{STREAM}"

    def start_terminal(self) -> None:
        self.ingest = Ingest("T", self.rig, self.terminal_context, self.endpoint, self.counters)
        self.endpoint = self.ingest.endpoint

    def stop_terminal(self, *, unlink: bool = False) -> None:
        assert self.ingest is not None
        self.ingest.close(unlink=unlink)
        self.ingest = None

    def eventually_finished(self) -> None:
        eventually(lambda: self.forwarder.finished(STREAM))

    def blocks(self) -> list[Block]:
        """Return every block that the Terminal's ring retains."""
        with BlobReader.attach(self.ring_name, policy="drop_oldest", start="oldest") as reader:
            return [Block.from_blob(blob.data) for blob in iter(lambda: reader.read(0.0), None)]

    def eventually_there(self) -> None:
        def is_there() -> bool:
            try:
                BlobReader.attach(self.ring_name).close()
            except SegmentNotFoundError:
                return False
            return True

        eventually(is_there)

    def close(self) -> None:
        self.forwarder.close()
        if self.ingest is not None:
            self.ingest.close()
        self.terminal_context.close()
        self.pilot_context.close()
        self.counters.close()


@contextmanager
def wire() -> Iterator[Wire]:
    """Set a Terminal and a Pilot up, and take them down."""
    both = Wire()
    try:
        yield both
    finally:
        both.close()


def stored_items(blocks: list[Block]) -> NDArray[np.int32]:
    """Return the items of blocks, in order, after checking that blocks follow each other without a hole."""
    position = blocks[0].header.first - blocks[0].header.lost
    parts = [np.empty((0, 2), "<i4")]
    for block in blocks:
        assert block.header.first - block.header.lost == position, f"a hole before {block.header}"
        position = block.header.end
        parts.append(block.decode())
    return np.concatenate(parts)
