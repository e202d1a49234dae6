"""From the wire onto the disk nothing is decompressed: a codec that cannot decode is enough to record."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.streams import STREAM, eventually, signal_ring, wire, write

from pipeline.block import Block
from pipeline.codec import BloscCodec, RawCodec
from pipeline.notify import Notices
from shm import BlobReader
from stations.recording import SessionRecorder
from stations.recording.intake import Intake


def test_ingest_and_recorder_decode_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what lies in the file is what came over the wire, byte for byte."""
    decoded: list[str] = []
    for codec in (BloscCodec, RawCodec):
        monkeypatch.setattr(codec, "decode_into", lambda self, *_: decoded.append(self.name))
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM, codec="blosc")
        both.forwarder.start(STREAM)
        write(ring, 640)
        both.forwarder.stop(STREAM, 640)
        both.eventually_finished()
        intake = Intake(f"{both.rig}/T/", Notices(both.terminal_context))
        session = SessionRecorder(tmp_path / "a", both.rig, [STREAM])
        with BlobReader.attach(both.ring_name, policy="drop_oldest", start="oldest") as reader:
            blocks = [Block.from_blob(bytes(blob.data)) for blob in iter(lambda: reader.read(0.0), None)]
            session.resumed = True  # the ring was there before: take it from its first block
            intake.begin(session, time.monotonic())
            eventually(lambda: intake.do_work(time.monotonic()) >= 0 and session.is_drained([STREAM]))
            intake.end()
        session.close()
    with h5py.File(tmp_path / "a" / f"{STREAM}_part-000.h5", "r") as file:
        chunks = [bytes(file["data"].id.read_direct_chunk((64 * n, 0))[1]) for n in range(10)]
    assert [bytes(memoryview(block.payload)) for block in blocks if block.header.count] == chunks
    assert decoded == []
    assert np.array_equal([block.header.codec for block in blocks if block.header.count], ["blosc"] * 10)
