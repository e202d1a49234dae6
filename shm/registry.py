"""What rings and counters are on this machine, found without a daemon; and removing what no one uses."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from . import locks
from .errors import SegmentAccessError, SegmentError, SegmentNotFoundError, ShmError
from .layout import (
    COUNTERS_HEADER,
    COUNTERS_HEADER_BYTES,
    COUNTERS_HEADER_DTYPE,
    HEADER_DTYPE,
    offset_of,
)
from .observer import RingObserver
from .orphans import Orphan, list_orphans
from .segment import PREFIX, RING, SHM_DIR, Segment, array_of, segment_names
from .table import ReaderRow


@dataclass(frozen=True, slots=True)
class RingInfo:
    """What a ring's header and words say."""

    shape: tuple[int, ...]
    dtype: str
    slots: int
    is_blob: bool
    published: int
    epoch: int
    birth: int
    ended: bool
    newest_age_s: float | None
    readers: tuple[ReaderRow, ...]
    meta: dict[str, object]


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One segment of this machine.

    Attributes:
        kind: "ring" or "counters".
        full_name: as given by its creator; "" if it is not readable.
        segment_name: its name in /dev/shm, with the slash.
        bytes: its size.
        uid: of its owner.
        writer_pid: process that writes or wrote it, 0 if unknown.
        writer_alive: the writer's lock is held.
        age_s: since it was created.
        problem: why no more is known, e.g. another user's, another version; "" if all is well.
        ring: more about a ring that could be attached.
    """

    kind: str
    full_name: str
    segment_name: str
    bytes: int
    uid: int
    writer_pid: int
    writer_alive: bool
    age_s: float
    problem: str = ""
    ring: RingInfo | None = None


@dataclass(frozen=True, slots=True)
class CleanReport:
    """What `clean` did.

    Attributes:
        removed: full names (segment names where unreadable), with dry_run those that would be.
        kept: (name, why) of the others.
        freed_bytes: of what was removed.
        dry_run: nothing was removed.
        orphans: segments whose name vanished under a living writer; nothing can be removed, their rig needs a restart.
    """

    removed: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    freed_bytes: int = 0
    dry_run: bool = False
    orphans: tuple[Orphan, ...] = ()


def list_segments(prefix: str = "") -> list[SegmentInfo]:
    """Return every ring and page of counters whose full name starts with `prefix`, by name.

    Segments of other users that cannot be read are listed with an empty name and a `problem`.
    """
    found = [info for name in segment_names() if (info := _describe(name)) is not None]
    return sorted((i for i in found if i.full_name.startswith(prefix)), key=lambda i: (i.full_name, i.segment_name))


def clean(*, dry_run: bool = False, rig: str | None = None) -> CleanReport:
    """Remove the segments that are provably nobody's: ours, and no process holds a lock on them.

    Args:
        dry_run: only say what would be removed.
        rig: only names below ``rig/``.
    """
    removed, kept, freed = [], [], 0
    prefix = "" if rig is None else f"{rig}/"
    for info in list_segments(prefix):
        label = info.full_name or info.segment_name
        why = _reason_to_keep(info, dry_run=dry_run)
        if why:
            kept.append((label, why))
        else:
            removed.append(label)
            freed += info.bytes
    return CleanReport(tuple(removed), tuple(kept), freed, dry_run, tuple(list_orphans(prefix)))


def _reason_to_keep(info: SegmentInfo, *, dry_run: bool) -> str:
    """Remove a segment unless there is a reason not to; return the reason."""
    if info.uid != os.getuid():
        return f"belongs to uid {info.uid}"
    try:
        segment = Segment.open(info.segment_name, info.full_name, read_only=False)
    except SegmentNotFoundError:
        return ""
    except SegmentError as error:
        return str(error)
    try:
        holder = locks.first_holder(segment.fd)
        if holder is not None:
            return "its writer lives" if holder == locks.WRITER else f"reader {holder - 1} lives"
        # Taking the writer's lock keeps a new writer from taking over what we are about to unlink.
        if not locks.lock_writer(segment.fd):
            return "its writer has just come"
        if not dry_run and segment.is_linked():
            segment.unlink()
    finally:
        segment.close()
    return ""


def _describe(name: str) -> SegmentInfo | None:
    is_ring = name.startswith(f"/{PREFIX}{RING}")
    try:
        segment = Segment.open(name, name, read_only=True)
    except SegmentNotFoundError:
        return None
    except SegmentAccessError as error:
        return SegmentInfo("ring" if is_ring else "counters", "", name, 0, _uid(name), 0, True, 0.0, str(error))
    try:
        return _ring_info(segment) if is_ring else _counters_info(segment)
    finally:
        segment.close()


def _uid(name: str) -> int:
    try:
        return (SHM_DIR / name[1:]).stat().st_uid
    except OSError:
        return -1


def _full_name(segment: Segment, header: np.dtype[np.void]) -> str:
    """Read the name in a header, "" if the segment is too short to have one."""
    if segment.size < header.itemsize:
        return ""
    record = array_of(segment.map(0, header.itemsize), header, 1)[0]
    return bytes(record["full_name"]).decode(errors="replace")


def _age_s(segment: Segment) -> float:
    return max(0.0, time.time() - os.fstat(segment.fd).st_ctime)


def _counters_info(segment: Segment) -> SegmentInfo:
    full_name = _full_name(segment, COUNTERS_HEADER_DTYPE)
    pid = segment.map(0, COUNTERS_HEADER_BYTES).load(offset_of(COUNTERS_HEADER, "pid")) if full_name else 0
    status = os.fstat(segment.fd)
    return SegmentInfo(
        kind="counters",
        full_name=full_name,
        segment_name=segment.name,
        bytes=status.st_size,
        uid=status.st_uid,
        writer_pid=pid,
        writer_alive=locks.is_writer_alive(segment.fd),
        age_s=_age_s(segment),
        problem="" if full_name else "never became ready",
    )


def _ring_info(segment: Segment) -> SegmentInfo:
    full_name = _full_name(segment, HEADER_DTYPE)
    status = os.fstat(segment.fd)
    problem, ring, pid = "", None, 0
    try:
        with RingObserver.attach(full_name or segment.name) as observer:
            ring, pid = _ring(observer), observer.writer_pid
    except (ShmError, OSError) as error:  # also a name that cannot be one
        problem = str(error) if full_name else "never became ready"
    return SegmentInfo(
        kind="ring",
        full_name=full_name,
        segment_name=segment.name,
        bytes=status.st_size,
        uid=status.st_uid,
        writer_pid=pid,
        writer_alive=locks.is_writer_alive(segment.fd),
        age_s=_age_s(segment),
        problem=problem,
        ring=ring,
    )


def _ring(observer: RingObserver) -> RingInfo:
    return RingInfo(
        shape=observer.shape,
        dtype=str(observer.dtype),
        slots=observer.slots,
        is_blob=observer.is_blob,
        published=observer.published,
        epoch=observer.epoch,
        birth=observer.birth,
        ended=observer.ended,
        newest_age_s=observer.newest_age_s,
        readers=tuple(observer.readers()),
        meta=dict(observer.meta),
    )


__all__ = ["CleanReport", "RingInfo", "SegmentInfo", "clean", "list_segments"]
