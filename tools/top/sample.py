"""What pipeline-top saw at one moment: plain values, no link to the shared memory that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReaderSample:
    """One entry of a ring's reader table."""

    name: str
    policy: str
    """"latest" | "drop_oldest" | "lossless"."""
    pid: int
    alive: bool
    position: int
    """Sequence that it reads next."""
    lapped: int = 0
    """Items that it lost because the writer came round."""
    skipped: int = 0
    """Items that it left out because its policy is "latest"."""
    torn: int = 0
    """Items that were overwritten while it looked at them; never given out."""
    demoted: bool = False
    """Lossless once, too slow now; its losses are counted until it has caught up."""


@dataclass(frozen=True, slots=True)
class RingSample:
    """One ring."""

    name: str
    holds: str
    """"items" | "blobs"."""
    birth: int
    slots: int
    bytes: int
    """Size of the segment."""
    shape: tuple[int, ...]
    """Of an item; what blobs hold may be unknown: ()."""
    dtype: str
    """Of an item, e.g. "uint8"; "" when unknown."""
    item_bytes: int
    """Bytes of one item, decoded; 0 when unknown."""
    published: int
    newest_ns: int | None
    """CLOCK_MONOTONIC of the newest item; None before the first, or when its clock is not this machine's."""
    writer_pid: int
    writer_alive: bool
    ended: bool
    """The writer has said that no more will come."""
    target_hz: float | None = None
    """Items per second that the source promised."""
    per_slot: int = 1
    """Items in one slot: 1, or the items of a block for blobs."""
    readers: tuple[ReaderSample, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Items lost beside what readers lost, by reason (e.g. "link"), from counters."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process that writes a ring."""

    pid: int
    cpu_s: float
    """Seconds of CPU since it started."""
    memory: int
    """Bytes of its own: resident less shared, because mapped rings are everybody's."""
    state: str
    """As psutil calls it, e.g. "sleeping"."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything at one moment."""

    time_ns: int
    """CLOCK_MONOTONIC."""
    rings: tuple[RingSample, ...]
    processes: Mapping[int, ProcessSample] = field(default_factory=dict)
    shm_total: int = 0
    shm_free: int = 0
