"""Either end killed with SIGKILL, in processes of their own: the run goes on, and the ledger balances."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from support.stream_ends import End
from support.streams import STREAM, eventually, rig_name, samples, signal_ring, stored_items, write

from pipeline.block import Block
from shm import BlobReader, RingWriter, SegmentNotFoundError


class Recorder(threading.Thread):
    """Reads every block as the recorder does: lossless, and from ring to ring."""

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self.ring_name = name
        self.blocks: list[Block] = []
        self.is_closing = False
        self.start()

    def run(self) -> None:
        while not self.is_closing:
            try:
                with BlobReader.attach(self.ring_name, policy="lossless", reader="recorder", start="oldest") as ring:
                    while not self._is_over(ring):
                        blob = ring.read(0.01)
                        if blob is not None:
                            self.blocks.append(Block.from_blob(blob.data))
            except SegmentNotFoundError:
                time.sleep(0.01)

    def _is_over(self, ring: BlobReader) -> bool:
        return self.is_closing or ring.is_superseded

    def close(self) -> None:
        self.is_closing = True
        self.join()


@contextmanager
def recorded(rig: str) -> Iterator[Recorder]:
    recorder = Recorder(f"{rig}/T/{STREAM}")
    try:
        yield recorder
    finally:
        recorder.close()


def check(recorder: Recorder, ring: RingWriter) -> int:
    """Check that every item was stored once or is told as lost; return how many were lost."""
    eventually(lambda: recorder.blocks and recorder.blocks[-1].header.is_end)
    items = stored_items(recorder.blocks)
    lost = sum(block.header.lost for block in recorder.blocks)
    assert ring.published == len(items) + lost
    assert np.array_equal(items, np.concatenate([samples(b.header.first, b.header.count) for b in recorder.blocks]))
    return lost


def pour(ring: RingWriter, seconds: float) -> None:
    """Publish about 10 000 items a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        write(ring, 50)
        time.sleep(0.005)


def test_a_killed_terminal_goes_on_where_its_ring_stood() -> None:
    """No item twice, none missing: its ring survived it, and the Pilot's ring kept the rest."""
    rig = rig_name()
    terminal = End("terminal", rig, "tcp://127.0.0.1:0")
    endpoint = terminal.said
    with (
        signal_ring(rig, slots=65_536) as ring,
        End("pilot", rig, endpoint, STREAM, "0") as pilot,
        recorded(rig) as recorder,
    ):
        pour(ring, 0.5)
        eventually(lambda: len(recorder.blocks) > 20)
        terminal.kill()
        pour(ring, 0.5)
        with End("terminal", rig, endpoint):
            pour(ring, 0.3)
            assert "{}" == pilot.tell(str(ring.published))
            assert 0 == check(recorder, ring)


def test_a_killed_pilot_goes_on_where_the_terminals_ring_stands() -> None:
    """It knows only the stream's name when it comes back; the sensor's ring kept what it had not sent."""
    rig = rig_name()
    with (
        End("terminal", rig, "tcp://127.0.0.1:0") as terminal,
        signal_ring(rig, slots=65_536) as ring,
        recorded(rig) as recorder,
    ):
        pilot = End("pilot", rig, terminal.said, STREAM, "0")
        pour(ring, 0.5)
        eventually(lambda: len(recorder.blocks) > 20)
        pilot.kill()
        pour(ring, 0.5)
        with End("pilot", rig, terminal.said, STREAM, "resume") as pilot:
            pour(ring, 0.3)
            pilot.tell(str(ring.published))
        assert 0 == check(recorder, ring)
        assert {0} == {block.header.origin for block in recorder.blocks}


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(10))
def test_kills_at_random_moments_balance(seed: int) -> None:
    """Whichever end dies whenever, stored plus told as lost is what was produced."""
    chance = random.Random(seed)
    rig = rig_name()
    terminal = End("terminal", rig, "tcp://127.0.0.1:0")
    endpoint = terminal.said
    with signal_ring(rig, slots=16_384) as ring, recorded(rig) as recorder:
        pilot = End("pilot", rig, endpoint, STREAM, "0")
        pour(ring, 0.5)
        eventually(lambda: recorder.blocks)
        for _ in range(4):
            pour(ring, chance.random())
            if chance.random() < 0.5:
                terminal.kill()
                pour(ring, chance.random())
                terminal = End("terminal", rig, endpoint)
            else:
                pilot.kill()
                pour(ring, chance.random())
                pilot = End("pilot", rig, endpoint, STREAM, "resume")
        pilot.tell(str(ring.published))
        check(recorder, ring)
        pilot.close()
    terminal.close()
