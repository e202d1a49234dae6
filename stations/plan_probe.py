"""Looks at what `plan` computes with: sources, as far as they open without hardware, and the disk."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codec_choice import encoder_of
from pipeline.ring_cutter import blocks_for
from shm import RingObserver, ShmError, shm_space

from .config import Rig, StreamSection
from .errors import OutputError, SourceError
from .plan import MB, Machine, StreamNeed, need_of
from .sources import Source, SourceSpec, make_source, open_source, slots_for
from .sources.source import Reading

SAMPLE_S: Final = 0.3
"""Of a source's own items, for the ratio of compression ..."""
SAMPLE_BYTES: Final = 64 * 1024 * 1024
"""... but no more than this."""
PIECE_BYTES: Final = 4 * 1024 * 1024
SYNC_S: Final = 0.5
"""As a recorder does: written, and every half second brought to the disk."""
MOST_BYTES: Final = 4 * 1024**3
"""The test file grows to this, or to a quarter of the free space; then it is written from its beginning again."""


class Probe(NamedTuple):
    """What is known of a stream before it runs."""

    spec: SourceSpec | None
    ratio: float | None = None
    note: str = ""


def probe_streams(rig: Rig) -> list[StreamNeed]:
    """Look at every stream of a rig.

    Raises:
        SourceError: a file that cannot be opened, or anything else for which a run would be refused.
    """
    if rig.folder and rig.folder not in sys.path:
        sys.path.insert(0, rig.folder)
    needs = []
    for pilot, stream, entry in rig.streams():
        probe = probe_stream(stream, entry)
        needs.append(need_of(pilot, stream, entry, probe.spec, ratio=probe.ratio, note=probe.note))
    return needs


def probe_stream(stream: str, entry: StreamSection) -> Probe:
    """Look at one stream: an existing ring, a class of a user's (not opened: it may be a device), any other source."""
    if entry.source is None:
        return _probe_ring(entry.ring or "")
    if entry.source.startswith("python:"):
        return _probe_class(stream, entry)
    source = open_source(entry.source, entry.options, name=stream)
    try:
        spec = source.spec
        if slots_for(spec, entry.seconds, entry.slots) is None:
            raise SourceError(f"{stream}: {entry.source} has no rate; say how many items to keep with slots = …")
        return Probe(spec, _ratio(source, spec, entry))
    finally:
        source.close()


def _probe_ring(name: str) -> Probe:
    try:
        with RingObserver.attach(name) as ring:
            meta = ring.meta
            rate = meta.get("rate")
            regular = bool(meta.get("regular", True))
            dtype: Any = ring.dtype.str if ring.dtype.names is None else ring.dtype.descr
            return Probe(SourceSpec(tuple(ring.shape), dtype, rate, ring.can_wait, regular=regular))
    except (ShmError, SourceError):
        return Probe(None, note=f"ring {name} is not there; its size is known when its program runs")


def _probe_class(stream: str, entry: StreamSection) -> Probe:
    """A class may tell its spec before it is opened; if not, only its device knows."""
    source = make_source(entry.source or "", entry.options, name=stream)
    try:
        spec = source.spec
    except Exception:  # the user's own, and allowed before `open`
        return Probe(None, note=f"{entry.source} tells its spec only when it is opened, which may take its device")
    return Probe(spec, note="not opened, so its compression is not known; taken as raw")


def _ratio(source: Source, spec: SourceSpec, entry: StreamSection) -> float | None:
    """Return raw bytes by those that the forwarder would send, of a sample."""
    slots = slots_for(spec, entry.seconds, entry.slots) or 1
    dtype = np.dtype(spec.dtype)
    block, _ = blocks_for(spec.shape, dtype, spec.rate, spec.regular, slots=slots, seconds=entry.seconds)
    items = _sample(source, spec, block)
    if not len(items):
        return None
    encoder = encoder_of(entry.codec, dtype)
    sent = 0
    for first in range(0, max(1, len(items) - block + 1), block):
        flat = np.ascontiguousarray(items[first : first + block]).reshape(-1).view(np.uint8)
        sent += memoryview(encoder.encode(flat, dtype.itemsize).payload).nbytes
    whole = max(1, len(items) // block) * min(block, len(items))
    return whole * spec.item_bytes / sent


def _sample(source: Source, spec: SourceSpec, block: int) -> NDArray[Any]:
    """Read 0.3 s of items, at least a block."""
    wanted = max(block, min(math.ceil((spec.rate or 0.0) * SAMPLE_S), SAMPLE_BYTES // spec.item_bytes))
    items = np.empty((wanted, *spec.shape), np.dtype(spec.dtype))
    count = 0
    while count < wanted:
        reading = source.read_into(items[count:])
        read = reading.count if isinstance(reading, Reading) else reading
        if not read:
            break
        count += read
    return items[:count]


def probe_machine(folder: Path, disk_s: float) -> Machine:
    """Look at /dev/shm and at the disk that will hold the recordings.

    Args:
        folder: of the recordings; where it is missing, the nearest above it that is there is measured.
        disk_s: seconds of writing; 0: the disk is not measured.

    Raises:
        OutputError: nothing can be written there.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.absolute().parent
    total, free = shm_space()
    try:
        stat = os.statvfs(folder)
        disk_free = stat.f_bavail * stat.f_frsize
        speed = measure_disk(folder, disk_s, limit=min(MOST_BYTES, disk_free // 4)) / MB if disk_s else None
    except OSError as error:
        raise OutputError(f"{folder}: cannot hold recordings: {error.strerror}; choose another folder") from error
    return Machine(shm_total=total, shm_free=free, disk_free=disk_free, disk_mb_s=speed, folder=str(folder))


def measure_disk(folder: Path, seconds: float, *, limit: int = MOST_BYTES) -> float:
    """Return how many bytes a second a disk takes, all of them brought to it (fdatasync).

    The file has no name: it is gone with this process, however that ends.

    Args:
        folder: on the disk.
        seconds: of writing.
        limit: most bytes that the file grows to.

    Raises:
        OSError: full, read-only, or failing.
    """
    piece = np.random.default_rng().bytes(PIECE_BYTES)  # a file system may compress, or not store zeros at all
    written = 0
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        begin = synced = time.monotonic()
        while (now := time.monotonic()) - begin < seconds:
            if file.tell() + PIECE_BYTES > limit:
                file.seek(0)
            written += file.write(piece)
            if now - synced >= SYNC_S:
                os.fdatasync(file.fileno())
                synced = now
        os.fdatasync(file.fileno())
        return written / (time.monotonic() - begin)
