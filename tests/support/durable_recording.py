"""A recording that says what of it is durable; as a process it does so on stdout, for whoever cuts its power.

``python -m support.durable_recording FOLDER SEED``: records until it is killed, a line after each step.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from support.recordings import START_NS, MadeStream, late, late_spec

from pipeline import Message
from pipeline.losses import SPOOLED
from stations.recording import SessionRecorder
from stations.recording.rotation import Rotation
from stations.rows_ring import Row

CAM, EPHYS, ODD, ROWS = "pilot1.cam0", "pilot1.ephys", "pilot1.odd", "data/DATA"
MADE = {
    CAM: MadeStream(CAM),
    EPHYS: MadeStream(EPHYS, shape=(8,), dtype="<i2", block_items=16, rate=1600),
    ODD: MadeStream(ODD, shape=(2,), dtype="<f8", block_items=4, regular=False, rate=400),
}
CLOCK = ("box", 5, 7)
STEP_S = 0.01
MAX_LOSS_S = 0.1
Durable = dict[tuple[str, int], list[tuple[int, int]]]
"""What was told to be on the disk: runs of sequences by stream and birth."""


def durable_of(session: SessionRecorder) -> Durable:
    return {
        (recorder.stream, birth): list(ranges)
        for recorder in session.recorders()
        for birth, ranges in recorder.durable_ranges().items()
    }


def record(folder: Path, steps: int, chance: random.Random, tell: Callable[[Durable], None]) -> None:
    """Record blocks, rows, gaps and what comes late of them; tell after each step what is durable."""
    rotation = Rotation(segment_s=chance.choice((0.05, 0.11, 0.3)))
    session = SessionRecorder(folder, "demo", max_loss_s=MAX_LOSS_S, rotation=rotation)
    for step in range(steps):
        store(session, step)
        session.tick(step * STEP_S)
        tell(durable_of(session))
    session.close()
    tell(durable_of(session))


def store(session: SessionRecorder, step: int) -> None:
    """Store one block of each stream and a row; of the images every twentieth comes ten steps late."""
    for made in MADE.values():
        size = made.spec.block_items
        if made.spec.stream != CAM or step % 20 != 9:
            lost = (1, SPOOLED) if made.spec.stream == CAM and step % 20 == 10 else (0, "")
            session.store(made.block(step * size, lost=lost[0], lost_reason=lost[1]), made.spec)
    if step % 20 == 19:
        session.backfill(late(MADE[CAM].block(step - 10)), late_spec(MADE[CAM]))
    message = Message(to="_T", key="DATA", value={"trial": step}, id=str(step), sender="pilot1.task")
    session.row("DATA").store(
        Row("DATA", step, START_NS + round(step * STEP_S * 1e9), tuple(message.serialize())), 7, CLOCK
    )
    if step % 4 == 0:
        session.row("DATA").flush()


def to_line(durable: Durable) -> str:
    return json.dumps([[stream, birth, runs] for (stream, birth), runs in durable.items()])


def from_line(line: str) -> Durable:
    return {(stream, birth): [(first, end) for first, end in runs] for stream, birth, runs in json.loads(line)}


if __name__ == "__main__":
    record(
        Path(sys.argv[1]), sys.maxsize, random.Random(int(sys.argv[2])), lambda told: print(to_line(told), flush=True)
    )
