"""Recordings that are exported: everything that a format must hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline import Message
from pipeline.losses import SPOOLED
from stations.recording import SessionRecorder
from stations.rows_ring import Row

from .recordings import START_NS, MadeStream, late, late_spec

CAM, EPHYS, HOST, GREY = "pilot1.cam0", "pilot1.ephys", "pilot2.host", "pilot2.grey"


@pytest.fixture(autouse=True)
def end_zarr_threads() -> Iterator[None]:
    """End zarr's threads after a test that used it; otherwise they end with the process."""
    yield
    if "zarr" in sys.modules:
        from zarr.core.sync import cleanup_resources

        cleanup_resources()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four streams, two births, gaps, items that came late, rows of messages."""
    folder = tmp_path_factory.mktemp("recordings") / "rec"
    record(folder)
    return folder


def made_streams(birth: int) -> dict[str, MadeStream]:
    """Return colour and grey images, fast samples, and irregular floats."""
    return {
        CAM: MadeStream(CAM, shape=(24, 33, 3), rate=50, birth=birth),
        GREY: MadeStream(GREY, shape=(72, 64), dtype="<u2", rate=50, birth=birth),
        EPHYS: MadeStream(EPHYS, shape=(4,), dtype="<i2", block_items=64, rate=3000, birth=birth),
        HOST: MadeStream(HOST, shape=(2,), dtype="<f4", block_items=4, regular=False, rate=20, birth=birth),
    }


def record(folder: Path, *, births: int = 2, blocks: int = 12) -> None:
    """Record each stream in two births, each with a gap of two blocks, one of which came late."""
    session = SessionRecorder(folder, "demo")
    for birth in range(births):
        for one in made_streams(100 - birth).values():
            size = one.spec.block_items
            for block in one.blocks(0, 4 * size):
                session.store(block, one.spec)
            session.store(one.block(6 * size, lost=2 * size, lost_reason=SPOOLED), one.spec)
            session.backfill(late(one.block(5 * size)), late_spec(one))
            for block in one.blocks(7 * size, blocks * size):
                session.store(block, one.spec)
            session.store(one.end(blocks * size), one.spec)
    for number, value in enumerate(({"trial": 1}, "ü", np.arange(5.0), [float("nan"), None])):
        message = Message(to="_T", key="DATA", value=value, id=str(number), sender="pilot1.task")
        row = Row("DATA", number, START_NS + number, message.serialize())
        session.row("DATA").store(row, 100, ("box", 5, 7))
    session.journal.append("mark", text="ein Zeichen: ü")
    session.close()
