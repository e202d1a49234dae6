"""Takes samples of this machine's rings and of the processes that write them.

Reads shared memory only, as an observer that no writer or reader ever notices: it works while every other process
hangs, and needs neither a network nor a running station.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import psutil

from shm import Counters, RingInfo, SegmentInfo, ShmError, list_segments, shm_space
from shm import ReaderRow as TableRow

from .sample import ProcessSample, ReaderSample, RingSample, Sample

DROPPED: Final = ".dropped."
"""A Pilot counts what it gave up as `STREAM.dropped.REASON` ..."""
LOST: Final = ".received_lost"
"""... and the Terminal what it heard of that as `STREAM.received_lost`."""
LAPPED: Final = "lapped"
"""Not taken from counters: the reader table says it too."""


class Collector:
    """Takes samples; remembers only which processes it has met, so that their CPU times are of the same process."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}

    def sample(self) -> Sample:
        """Look at everything once; takes some milliseconds and waits for nobody."""
        segments = list_segments()
        counts = _counts(segments)
        now = time.monotonic_ns()
        rings = tuple(
            ring_sample(info, info.ring, now, counts)
            for info in segments
            if info.kind == "ring" and info.ring is not None
        )
        total, free = shm_space()
        return Sample(
            now, rings, self._looked_at({ring.writer_pid for ring in rings if ring.writer_alive}), total, free
        )

    def _looked_at(self, pids: Iterable[int]) -> dict[int, ProcessSample]:
        known, self._processes = self._processes, {}
        found = {}
        for pid in pids:
            try:
                process = known.get(pid) or psutil.Process(pid)
                if not process.is_running():  # the pid is somebody else's now
                    process = psutil.Process(pid)
                found[pid] = _process_sample(process)
            except psutil.Error:
                continue
            self._processes[pid] = process
        return found

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget the processes."""
        self._processes.clear()

    def __repr__(self) -> str:
        return f"<Collector {len(self._processes)} processes>"


def ring_sample(info: SegmentInfo, ring: RingInfo, now_ns: int, counts: Mapping[str, int]) -> RingSample:
    """Return one ring as a sample.

    Args:
        info: what the registry knows of the segment.
        ring: what its header and words say.
        now_ns: CLOCK_MONOTONIC.
        counts: all counters of the machine, by page and label joined with a slash.
    """
    shape, dtype, per_slot = _content(ring)
    rate = ring.meta.get("rate")
    return RingSample(
        name=info.full_name,
        holds="blobs" if ring.is_blob else "items",
        birth=ring.birth,
        slots=ring.slots,
        bytes=info.bytes,
        shape=shape,
        dtype=str(dtype) if dtype is not None else "" if ring.is_blob else ring.dtype,
        item_bytes=int(np.prod(shape, dtype=np.int64)) * dtype.itemsize if dtype is not None else 0,
        published=ring.published,
        newest_ns=now_ns - int(ring.newest_age_s * 1e9) if ring.newest_age_s is not None else None,
        writer_pid=info.writer_pid,
        writer_alive=info.writer_alive,
        ended=ring.ended,
        target_hz=float(rate) if isinstance(rate, int | float) and rate > 0 else None,
        per_slot=per_slot,
        readers=tuple(_reader_sample(row) for row in ring.readers),
        dropped=losses_of(info.full_name, counts),
    )


def losses_of(ring: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the items that counters say were lost of a ring's stream, by reason.

    A Pilot's ring `demo/pilot1.cam0` finds `demo/pilot1` counting `pilot1.cam0.dropped.link`; the Terminal's
    `demo/T/pilot1.cam0` finds `demo/T` counting `pilot1.cam0.received_lost`, told as "upstream".
    """
    folder, _, stream = ring.rpartition("/")
    upstream = counts.get(f"{folder}/{stream}{LOST}", 0)
    begin = f"{folder}/{stream.partition('.')[0]}/{stream}{DROPPED}"
    lost = {label.removeprefix(begin): count for label, count in counts.items() if label.startswith(begin)}
    lost["upstream"] = upstream
    return {reason: count for reason, count in lost.items() if count > 0 and reason != LAPPED}


def _content(ring: RingInfo) -> tuple[tuple[int, ...], np.dtype[Any] | None, int]:
    """Return shape and dtype of an item and the items in a slot; a Terminal's ring says in its meta what blobs hold."""
    if not ring.is_blob:
        return ring.shape, np.dtype(ring.dtype) if "[" not in ring.dtype else None, 1
    shape, dtype, items = ring.meta.get("shape"), ring.meta.get("dtype"), ring.meta.get("block_items")
    if not (isinstance(shape, list | tuple) and isinstance(dtype, str) and isinstance(items, int)):
        return (), None, 1
    try:
        return tuple(int(side) for side in shape), np.dtype(dtype.strip('"')), max(1, items)
    except (TypeError, ValueError):
        return (), None, max(1, items)


def _reader_sample(row: TableRow) -> ReaderSample:
    return ReaderSample(
        name=row.name,
        policy=row.policy,
        pid=row.pid,
        alive=row.is_alive,
        position=row.position,
        lapped=row.lapped,
        skipped=row.skipped,
        torn=row.torn,
        demoted=row.state == "demoted",
    )


def _process_sample(process: psutil.Process) -> ProcessSample:
    with process.oneshot():
        cpu, memory = process.cpu_times(), process.memory_info()
        shared = getattr(memory, "shared", 0)  # Linux; elsewhere mapped rings cannot be told from the rest
        return ProcessSample(process.pid, cpu.user + cpu.system, max(0, memory.rss - shared), process.status())


def _counts(segments: Iterable[SegmentInfo]) -> dict[str, int]:
    """Return all counters, by page and label joined with a slash."""
    counts: dict[str, int] = {}
    for info in segments:
        if info.kind != "counters" or info.problem:
            continue
        try:
            with Counters.attach(info.full_name) as page:
                counts.update({f"{info.full_name}/{label}": value for label, value in page.read().items()})
        except ShmError:  # removed between the two looks
            continue
    return counts
