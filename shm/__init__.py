"""Shared-memory rings: one writer, many readers, any process; counters; and what of them is on this machine."""

from ._native import Claim, Run, View
from .blob import BlobReader, BlobWriter
from .claim import BlobClaim
from .clock import ClockPair, clock_domain
from .counters import Counter, Counters, counters_bytes
from .dtypes import checked_dtype
from .errors import (
    BusyError,
    ClosedError,
    LayoutError,
    LosslessRefusedError,
    OverrunError,
    RingEmptyError,
    RingExhaustedError,
    SegmentAccessError,
    SegmentError,
    SegmentNotFoundError,
    ShmError,
    SpaceError,
    SpecError,
    SpecMismatchError,
    TableFullError,
    WriterAliveError,
)
from .item import Blob, Item
from .observer import RingObserver
from .orphans import Orphan, list_orphans
from .reader import ReaderStatistics, RingReader
from .registry import CleanReport, RingInfo, SegmentInfo, clean, list_segments
from .salvage import Salvage, salvage
from .segment import segment_name, shm_space
from .spec import RingSize, ring_size
from .table import Policy, ReaderRow
from .waiter import SLICE_S, FutexWaiter, HybridWaiter, SpinWaiter, Waiter, WaiterFactory
from .writer import Notifier, RingWriter, WriterStatistics

__all__ = [
    "SLICE_S",
    "Blob",
    "BlobClaim",
    "BlobReader",
    "BlobWriter",
    "BusyError",
    "Claim",
    "CleanReport",
    "ClockPair",
    "ClosedError",
    "Counter",
    "Counters",
    "FutexWaiter",
    "HybridWaiter",
    "Item",
    "LayoutError",
    "LosslessRefusedError",
    "Notifier",
    "Orphan",
    "OverrunError",
    "Policy",
    "ReaderRow",
    "ReaderStatistics",
    "RingEmptyError",
    "RingExhaustedError",
    "RingInfo",
    "RingObserver",
    "RingReader",
    "RingSize",
    "RingWriter",
    "Run",
    "Salvage",
    "SegmentAccessError",
    "SegmentError",
    "SegmentInfo",
    "SegmentNotFoundError",
    "ShmError",
    "SpaceError",
    "SpecError",
    "SpecMismatchError",
    "SpinWaiter",
    "TableFullError",
    "View",
    "Waiter",
    "WaiterFactory",
    "WriterAliveError",
    "WriterStatistics",
    "checked_dtype",
    "clean",
    "clock_domain",
    "counters_bytes",
    "list_orphans",
    "list_segments",
    "ring_size",
    "salvage",
    "segment_name",
    "shm_space",
]
