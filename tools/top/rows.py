"""From two samples to the rows of the table.  Pure; a rate needs two samples, and what is not known is None.

| state | meaning |
|---|---|
| run | items come |
| wait | nothing was published yet |
| idle | nothing came between the samples, and nobody promised a rate |
| stall | the writer lives, promised a rate, and its newest item is older than 10 periods and a second |
| end | the writer has said that no more will come |
| dead | the writer is gone without saying so |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from .sample import ProcessSample, ReaderSample, RingSample, Sample

State = Literal["run", "wait", "idle", "stall", "end", "dead"]
UNHEALTHY: Final = frozenset({"stall", "dead"})
LATE_PERIODS: Final = 2.0
STALL_PERIODS: Final = 10.0
STALL_S: Final = 1.0
"""A stall is older than both: a stream of samples arrives in blocks of a tenth of a second."""


@dataclass(frozen=True, slots=True)
class ReaderRow:
    """One reader of a stream."""

    name: str
    policy: str
    pid: int
    state: str
    """"read" | "demoted" | "dead"."""
    lag: int
    """Slots that it has still to read."""
    lag_s: float | None
    """The same in seconds at the measured rate."""
    lapped: int
    skipped: int
    torn: int


@dataclass(frozen=True, slots=True)
class Row:
    """One stream; None is unknown."""

    stream: str
    state: State
    shape: str
    dtype: str
    hz: float | None
    target: float | None
    bytes_per_s: float | None
    """Decoded."""
    age_s: float | None
    lag: int | None
    """Slots that the slowest reader that wants everything has still to read; None without such a reader."""
    drops: dict[str, int]
    """Items lost by reason; a reader's own losses are "lapped" and "torn"."""
    drops_per_s: float
    occupancy: float | None
    """Share of the ring that the slowest lossless reader still needs, 0..1; None without such a reader."""
    readers: tuple[ReaderRow, ...]
    slots: int
    bytes: int
    pid: int
    process: str
    """State of the writer's process; "gone" when there is none."""
    cpu: float | None
    """Share of one core, 1.0 = 100 %."""
    memory: int | None
    is_late: bool
    """Older than two periods: not yet wrong, worth a look."""

    @property
    def is_unhealthy(self) -> bool:
        """Whether somebody should look at this stream: dead, stalled, or losing items right now."""
        return self.state in UNHEALTHY or self.drops_per_s > 0


def rows_of(before: Sample, after: Sample) -> list[Row]:
    """Return a row for each ring of the later sample, by name."""
    earlier = {(ring.name, ring.birth): ring for ring in before.rings}
    seconds = (after.time_ns - before.time_ns) / 1e9
    rows = [_row(earlier.get((ring.name, ring.birth)), ring, before, after, seconds) for ring in after.rings]
    return sorted(rows, key=lambda row: row.stream)


def select(rows: Iterable[Row], *, pattern: str = "*", by: str = "stream", reverse: bool = False) -> list[Row]:
    """Return the rows whose stream matches a glob, ordered by a column of `text.COLUMNS`; unknown values stand last.

    A pattern without wildcards selects what contains it.
    """
    glob = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
    kept = [row for row in rows if fnmatchcase(row.stream, glob)]
    known = [row for row in kept if sort_key(row, by) is not None]
    unknown = [row for row in kept if sort_key(row, by) is None]
    return sorted(known, key=lambda row: sort_key(row, by), reverse=reverse) + unknown  # type: ignore[arg-type, return-value]


def sort_key(row: Row, by: str) -> float | str | None:
    """Return a row's value in a column, as it sorts."""
    value = {"drops": sum(row.drops.values()), "readers": len(row.readers), "mb_s": row.bytes_per_s, "age": row.age_s}
    found: float | str | None = value[by] if by in value else getattr(row, _FIELDS.get(by, by))
    return found


_FIELDS: Final = {"occ": "occupancy", "writer": "pid", "mem": "memory"}


def _row(earlier: RingSample | None, ring: RingSample, before: Sample, after: Sample, seconds: float) -> Row:
    slots_per_s = (ring.published - earlier.published) / seconds if earlier is not None and seconds > 0 else None
    hz = slots_per_s * ring.per_slot if slots_per_s is not None else None
    age_s = (after.time_ns - ring.newest_ns) / 1e9 if ring.newest_ns is not None else None
    drops = _drops(ring)
    lost = sum(drops.values()) - sum(_drops(earlier).values()) if earlier is not None else 0
    process = after.processes.get(ring.writer_pid)
    return Row(
        stream=ring.name,
        state=_state(ring, hz, age_s),
        shape="x".join(str(side) for side in ring.shape) or ("scalar" if ring.dtype else "blobs"),
        dtype=ring.dtype,
        hz=hz,
        target=ring.target_hz,
        bytes_per_s=hz * ring.item_bytes if hz is not None and ring.item_bytes else None,
        age_s=age_s,
        lag=max((ring.published - reader.position for reader in _alive(ring) if _wants_all(reader)), default=None),
        drops=drops,
        drops_per_s=max(0, lost) / seconds if seconds > 0 else 0.0,
        occupancy=_occupancy(ring),
        readers=tuple(_reader(reader, ring, slots_per_s) for reader in ring.readers),
        slots=ring.slots,
        bytes=ring.bytes,
        pid=ring.writer_pid,
        process=process.state if process is not None else "gone",
        cpu=_cpu(before.processes, process, seconds),
        memory=process.memory if process is not None else None,
        is_late=_is_older(age_s, ring.target_hz, LATE_PERIODS, 0.0) and ring.writer_alive and not ring.ended,
    )


def _state(ring: RingSample, hz: float | None, age_s: float | None) -> State:
    if ring.ended:
        return "end"
    if not ring.writer_alive:
        return "dead"
    if ring.published == 0:
        return "wait"
    if _is_older(age_s, ring.target_hz, STALL_PERIODS, STALL_S):
        return "stall"
    return "run" if hz is None or hz > 0 or ring.target_hz is not None else "idle"


def _is_older(age_s: float | None, hz: float | None, periods: float, least_s: float) -> bool:
    return age_s is not None and hz is not None and hz > 0 and age_s > max(periods / hz, least_s)


def _alive(ring: RingSample) -> list[ReaderSample]:
    return [reader for reader in ring.readers if reader.alive]


def _drops(ring: RingSample) -> dict[str, int]:
    drops = Counter(dict(ring.dropped))
    for reader in ring.readers:
        if _wants_all(reader):
            drops["lapped"] += reader.lapped * ring.per_slot
            drops["torn"] += reader.torn * ring.per_slot
    return {reason: count for reason, count in sorted(drops.items()) if count}


def _wants_all(reader: ReaderSample) -> bool:
    """Who wants only the newest is never behind, and loses nothing by missing the rest."""
    return reader.policy != "latest"


def _occupancy(ring: RingSample) -> float | None:
    lags = [ring.published - reader.position for reader in _alive(ring) if reader.policy == "lossless"]
    return min(1.0, max(lags) / ring.slots) if lags else None


def _reader(reader: ReaderSample, ring: RingSample, slots_per_s: float | None) -> ReaderRow:
    lag = max(0, ring.published - reader.position)
    return ReaderRow(
        name=reader.name or str(reader.pid),
        policy=reader.policy,
        pid=reader.pid,
        state="dead" if not reader.alive else "demoted" if reader.demoted else "read",
        lag=lag,
        lag_s=lag / slots_per_s if slots_per_s else None,
        lapped=reader.lapped,
        skipped=reader.skipped,
        torn=reader.torn,
    )


def _cpu(before: Mapping[int, ProcessSample], after: ProcessSample | None, seconds: float) -> float | None:
    earlier = before.get(after.pid) if after is not None else None
    if after is None or earlier is None or seconds <= 0:
        return None
    return max(0.0, after.cpu_s - earlier.cpu_s) / seconds
