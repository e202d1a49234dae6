"""Spools for tests: blocks that prove themselves, and what a spool's files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.block import Block, BlockHeader
from pipeline.codec import checksum
from pipeline.spool import Spool
from pipeline.spool_file import read_record
from pipeline.spool_run import SpoolRun
from pipeline.stream_spec import StreamSpec

BLOCK = 4
SPEC = StreamSpec(stream="pilot1.cam0", birth=7, dtype='"<i8"', shape=(1,), block_items=BLOCK, slots=64, rate=1000.0)
MIB = 1024 * 1024


def block_of(first: int, count: int = BLOCK, spec: StreamSpec = SPEC) -> Block:
    """Return a block whose items are their own sequences."""
    payload = np.zeros(spec.block_items, "<i8")
    payload[:count] = np.arange(first, first + count)
    data = payload.tobytes()
    header = BlockHeader(
        stream=spec.stream,
        birth=spec.birth,
        epoch=spec.epoch,
        flags=0,
        first=first,
        count=count,
        block_items=spec.block_items,
        origin=0,
        lost=0,
        lost_reason="",
        time_ns=first * 1_000_000,
        period_ns=1_000_000,
        dtype=spec.dtype,
        shape=spec.shape,
        codec="raw",
        raw_bytes=spec.raw_bytes,
        payload_bytes=len(data),
        crc=checksum(b"", data),
    )
    return Block(header, b"", data)


def open_spool(folder: Path, budget: int = MIB) -> Spool:
    """Return the spool of pilot1."""
    return Spool(folder, "pilot1", budget)


def spool_blocks(spool: Spool, firsts: range | list[int], run: str = "/rec/1", spec: StreamSpec = SPEC) -> SpoolRun:
    """Put blocks that begin at `firsts` into a spool; every one must be taken."""
    found = spool.run(run, spec)
    for first in firsts:
        assert spool.put(found, block_of(first, spec=spec)), spool.refused
    return found


def spooled_items(run: SpoolRun) -> list[int]:
    """Read everything that is kept of a run."""
    items: list[int] = []
    sequence = 0
    while (record := run.at(sequence)) is not None:
        items += read_record(record).decode()[:, 0].tolist()
        sequence = record.end
    return items
