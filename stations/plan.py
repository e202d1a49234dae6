"""What a rig needs of memory, network and disk, from its shapes, rates and seconds.  Pure: plain values in and out.

The sizes of rings are those that the parts will ask for, to the byte; rates are nominal; a ratio of compression is that
of a sample of the source's own items, where there was one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np

from pipeline.backfill import SLOTS as BACKFILL_SLOTS
from pipeline.ring_cutter import blocks_for
from pipeline.stream_spec import StreamSpec, dtype_json
from shm import counters_bytes, ring_size

from .config import Rig, StreamSection
from .ledger import RECORDER_COUNTERS
from .roster import Role
from .rows import PART_BYTES, SLOTS
from .sources import SourceSpec, slots_for

MB: Final = 1e6
GB: Final = 1e9
HOUR_S: Final = 3600.0
ROW_BYTES: Final = 44
"""Of the table `blocks`, for each block in a file; images and irregular items have a sequence and a time each, too."""
ITEM_BYTES: Final = 16

LEAST_RATIO: Final = 2.0
"""Seconds of a ring by `max_loss_s`: a dead recorder is replaced after about a second, and begins at its last flush."""
SHM_SHARE: Final = 0.8
"""Of what is free in /dev/shm; beyond it other programs are in danger."""
DISK_SHARE: Final = 0.5
"""Of what the disk was measured to take: it has other work, and gets slower as it fills."""
LINK_MB_S: Final = 110.0
"""What a link of 1 Gbit/s carries of TCP."""
LEAST_HOURS: Final = 1.0
"""Of recording that should fit onto the disk."""


class StreamNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What one stream needs; None: not known before it runs."""

    stream: str
    pilot: str
    source: str
    shape: tuple[int, ...] = ()
    dtype: Any = ""
    rate: float | None = None
    """Items per second, nominal."""
    ring_bytes: int | None = None
    """Of /dev/shm on the Pilot's machine."""
    ring_s: float | None = None
    """Until a reader that stands still is lapped."""
    terminal_bytes: int | None = None
    """Of /dev/shm on the Terminal's machine."""
    backfill_bytes: int | None = None
    """Of /dev/shm there as well, for as long as the Pilot's spool empties; 0: nothing of it goes into a spool."""
    terminal_s: float | None = None
    """Until a reader of blocks that stands still is lapped, say a dead recorder."""
    raw_mb_s: float | None = None
    """Megabytes (10⁶) a second as they are made."""
    ratio: float | None = None
    """Raw bytes by those that leave the Pilot, of a sample; None: no sample, taken for 1."""
    wire_mb_s: float | None = None
    """Through the network."""
    disk_mb_s: float | None = None
    """Into the files."""
    file_gb_h: float | None = None
    """Gigabytes (10⁹) an hour."""
    as_fast_as_stored: bool = False
    """``rate = "max"``: there is no rate, and what is said of rates is of its own time line."""
    note: str = ""
    """Why something is not known."""


class Finding(msgspec.Struct, frozen=True):
    """What is wrong, with the numbers."""

    level: Literal["refused", "warning"]
    text: str


class Needs(msgspec.Struct, frozen=True):
    """A rig's needs on one machine."""

    rig: str
    role: str
    streams: list[StreamNeed]
    fixed_bytes: int
    """Of /dev/shm: counters, and the ring of message rows."""
    shm_bytes: int
    """Of /dev/shm on this machine, all of it that is known."""
    backfill_bytes: int
    """Of /dev/shm beyond that, for as long as Pilots' spools empty."""
    raw_mb_s: float
    wire_mb_s: float
    disk_mb_s: float
    """Of all recordings on this machine: the Terminal's, and those of Pilots that record."""
    file_gb_h: float
    max_loss_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine has."""

    shm_total: int
    shm_free: int
    disk_free: int
    disk_mb_s: float | None = None
    """Measured; None: not measured."""
    folder: str = ""
    """On that disk."""


def need_of(
    pilot: str,
    stream: str,
    entry: StreamSection,
    spec: SourceSpec | None,
    *,
    ratio: float | None = None,
    note: str = "",
) -> StreamNeed:
    """Return what a stream needs.

    Args:
        pilot: its Pilot.
        stream: its full name.
        entry: its section of the rig file.
        spec: what its source delivers, if that is known.
        ratio: of compression, of a sample, by the stream's own codec.
        note: why something is not known.
    """
    need = StreamNeed(stream=stream, pilot=pilot, source=entry.source or f"ring {entry.ring}", ratio=ratio, note=note)
    slots = slots_for(spec, entry.seconds, entry.slots) if spec is not None else None
    if spec is None or slots is None:
        return need
    dtype = np.dtype(spec.dtype)
    ring = ring_size(spec.item_bytes, slots)
    items, blocks = blocks_for(spec.shape, dtype, spec.rate, spec.regular, slots=ring.slots, seconds=entry.seconds)
    wire = StreamSpec(
        stream=stream, birth=0, dtype=dtype_json(dtype), shape=spec.shape, block_items=items, slots=blocks,
        regular=spec.regular,
    )  # fmt: skip
    terminal = ring_size(wire.slot_bytes, blocks, is_blob=True)
    backfill = ring_size(wire.slot_bytes, min(BACKFILL_SLOTS, blocks), is_blob=True)
    need = msgspec.structs.replace(
        need,
        shape=spec.shape,
        dtype=spec.dtype,
        rate=spec.rate,
        ring_bytes=ring.total_bytes if entry.source is not None else 0,
        terminal_bytes=terminal.total_bytes,
        backfill_bytes=backfill.total_bytes if entry.lossless else 0,
        as_fast_as_stored=spec.can_wait and not spec.paced,
    )
    held = (ring.slots, terminal.slots * items)
    return need if spec.rate is None else _with_rates(need, spec, spec.rate, items, held)


def _with_rates(need: StreamNeed, spec: SourceSpec, rate: float, block_items: int, held: tuple[int, int]) -> StreamNeed:
    """Return the need with all that a rate decides; `held` is how many items Pilot's and Terminal's ring hold."""
    raw = rate * spec.item_bytes
    per_item = block_items == 1 or not spec.regular
    wire = raw / (need.ratio or 1.0) + (0 if spec.regular else 8 * rate)
    disk = raw / (need.ratio or 1.0) + ROW_BYTES * rate / block_items + (ITEM_BYTES * rate if per_item else 0)
    return msgspec.structs.replace(
        need,
        ring_s=held[0] / rate,
        terminal_s=held[1] / rate,
        raw_mb_s=raw / MB,
        wire_mb_s=wire / MB,
        disk_mb_s=disk / MB,
        file_gb_h=disk * HOUR_S / GB,
    )


def needs_of(rig: Rig, role: Role, streams: Iterable[StreamNeed]) -> Needs:
    """Add up what the part of a rig that runs on this machine needs."""
    streams = list(streams)
    has_pilots, has_terminal = role != "terminal", role != "pilot"
    fixed = (_pilots_bytes(rig) if has_pilots else 0) + (_terminal_bytes() if has_terminal else 0)
    times = {
        pilot: (has_terminal and rig.terminal.record) + (has_pilots and section.record)
        for pilot, section in rig.pilots.items()
    }
    rings = sum((need.ring_bytes or 0) * has_pilots + (need.terminal_bytes or 0) * has_terminal for need in streams)
    return Needs(
        rig=rig.name,
        role=role,
        streams=streams,
        fixed_bytes=fixed,
        shm_bytes=fixed + rings,
        backfill_bytes=sum((need.backfill_bytes or 0) for need in streams if _spools(rig, need)) * has_terminal,
        raw_mb_s=sum(need.raw_mb_s or 0.0 for need in streams),
        wire_mb_s=sum(need.wire_mb_s or 0.0 for need in streams),
        disk_mb_s=sum((need.disk_mb_s or 0.0) * times[need.pilot] for need in streams),
        file_gb_h=sum((need.file_gb_h or 0.0) * times[need.pilot] for need in streams),
        max_loss_s=rig.rig.max_loss_s,
    )


def _spools(rig: Rig, need: StreamNeed) -> bool:
    return rig.terminal.record and rig.pilots[need.pilot].spool_bytes > 0


def _pilots_bytes(rig: Rig) -> int:
    sensors = sum(1 for _, _, entry in rig.streams() if entry.source is not None)
    recorders = sum(section.record for section in rig.pilots.values())
    return (len(rig.pilots) + sensors) * counters_bytes() + recorders * counters_bytes(RECORDER_COUNTERS)


def _terminal_bytes() -> int:
    rows = ring_size(PART_BYTES, SLOTS, is_blob=True).total_bytes
    return counters_bytes() + counters_bytes(RECORDER_COUNTERS) + rows


def judge(needs: Needs, machine: Machine) -> list[Finding]:
    """Compare what is needed with what there is; what cannot be comes first."""
    findings = [*_memory(needs, machine), *_disk(needs, machine), *_network(needs)]
    for need in needs.streams:
        findings += _stream(need, needs.max_loss_s)
    return sorted(findings, key=lambda finding: finding.level != "refused")


def _memory(needs: Needs, machine: Machine) -> Iterator[Finding]:
    need, free = needs.shm_bytes + needs.backfill_bytes, machine.shm_free
    spools = f" (with {needs.backfill_bytes / MB:.1f} MB while spools empty)" if needs.backfill_bytes else ""
    numbers = (
        f"needs {need / MB:.1f} MB of /dev/shm{spools}, {free / MB:.1f} of {machine.shm_total / MB:.1f} MB are free"
    )
    if need > free:
        yield Finding("refused", f"{numbers}; smaller seconds, or mount -o remount,size=… /dev/shm")
    elif need > SHM_SHARE * free:
        yield Finding("warning", f"{numbers}; little is left for other programs")


def _disk(needs: Needs, machine: Machine) -> Iterator[Finding]:
    need, has = needs.disk_mb_s, machine.disk_mb_s
    if has is not None and need:
        numbers = f"writes {need:.1f} MB/s, {machine.folder} took {has:.1f} MB/s"
        if need > has:
            yield Finding("refused", f"{numbers}; a faster disk, another --output, or lower rates")
        elif need > DISK_SHARE * has:
            yield Finding("warning", f"{numbers}; a disk that slows down would lose items")
    hours = machine.disk_free / GB / needs.file_gb_h if needs.file_gb_h else None
    if hours is not None and hours < LEAST_HOURS:
        room = f"{machine.disk_free / GB:.1f} GB are free in {machine.folder}"
        yield Finding("warning", f"{room}: full after {60 * hours:.0f} minutes at {needs.file_gb_h:.1f} GB/h")


def _network(needs: Needs) -> Iterator[Finding]:
    by_pilot: dict[str, float] = {}
    for need in needs.streams:
        by_pilot[need.pilot] = by_pilot.get(need.pilot, 0.0) + (need.wire_mb_s or 0.0)
    for pilot, wire in by_pilot.items():
        if wire > LINK_MB_S:
            yield Finding("warning", f"{pilot} sends {wire:.1f} MB/s; a link of 1 Gbit/s carries {LINK_MB_S:g}")


def _stream(need: StreamNeed, max_loss_s: float) -> Iterator[Finding]:
    if need.note:
        yield Finding("warning", f"{need.stream}: {need.note}")
    if need.as_fast_as_stored:
        yield Finding("warning", f"{need.stream} comes as fast as it is stored; its figures are of its own time line")
    for seconds, whose in ((need.ring_s, "its"), (need.terminal_s, "the Terminal's")):
        if seconds is not None and seconds < LEAST_RATIO * max_loss_s:
            ratio = f"{seconds / max_loss_s:.1f} times max_loss_s = {max_loss_s:g}"
            hint = f"a restart takes about a second; at least {LEAST_RATIO:g} times is safe: larger seconds"
            yield Finding("warning", f"{need.stream}: {whose} ring is lapped after {seconds:.2g} s, {ratio}; {hint}")
