"""One ring's segment, open: created, taken over or attached, its sections mapped as a role allows.

Roles are kept by the MMU: the writer maps everything writable; a reader maps header, words, times, lengths and data
read-only and the reader table writable; an observer opens the segment read-only.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from enum import Enum
from functools import cache, partial
from typing import Any, Final

import numpy as np

from . import locks
from .clock import ClockPair
from .errors import LayoutError, SegmentNotFoundError, WriterAliveError
from .layout import (
    ENDED,
    ENTRY_BYTES,
    HEADER_BYTES,
    HEADER_DTYPE,
    READERS,
    RING_MAGIC,
    SUPERSEDED,
    TABLE,
    TABLE_WORDS_BYTES,
    VERSION,
    WORDS,
    offset_of,
    round_up,
)
from .process import boot_id, own_identity
from .segment import RING, Segment, array_of, page_bytes, segment_name
from .spec import RingSpec, header_record
from .succession import create_or_inherit

_NEVER: Final = 2**64 - 1
_MAGIC_WORD: Final = int.from_bytes(RING_MAGIC, "little")
_READY_S: Final = 0.5
"""How long a segment may exist without being ready: its creator is still reserving memory, or died."""


class Role(Enum):
    """What an end of a ring may do."""

    WRITER = "writer"
    READER = "reader"
    OBSERVER = "observer"


@cache
def word(name: str) -> int:
    """Return the offset of one of the writer's words."""
    return offset_of(WORDS, name)


class Ring:
    """The open segment of one ring and what its header says."""

    __slots__ = (
        *("birth", "clock", "first", "name", "role", "segment", "spec"),
        *("data", "lengths", "table", "times", "words"),
    )

    def __init__(self, name: str, segment: Segment, role: Role, *, populate: bool = True) -> None:
        header = _ready_header(segment, name)
        self.name = name
        self.segment = segment
        self.role = role
        self.spec = RingSpec.from_header(header, name)
        self.birth = int(header["birth"])
        self.first = int(header["first"])
        self.clock = ClockPair(
            bytes(header["clock"]).decode(errors="replace"), int(header["monotonic_ns"]), int(header["realtime_ns"])
        )
        _check_mappable(self.spec, segment, name)
        self._map(populate)

    def _map(self, populate: bool) -> None:
        g, owns, registers = self.spec.geometry, self.role is Role.WRITER, self.role is not Role.OBSERVER
        segment = self.segment
        self.words = segment.map(g.words_offset, g.table_offset - g.words_offset, writable=owns)
        self.table = segment.map(g.table_offset, g.table_bytes, writable=registers)
        twice = partial(segment.map, copies=2, writable=owns, populate=populate and registers)
        self.times = twice(g.times_offset, 8 * g.times_slots)
        self.lengths = twice(g.lengths_offset, 8 * g.times_slots) if g.is_blob else None
        self.data = twice(g.data_offset, g.data_bytes)

    @classmethod
    def attach(cls, name: str, role: Role, *, wait_for_s: float = 0.0) -> Ring:
        """Open an existing ring.

        Args:
            name: full name of the ring.
            role: reader or observer.
            wait_for_s: how long to wait for it to be created.

        Raises:
            SegmentNotFoundError: there is none.
            LayoutError: it is not one that this version reads, or never became ready.
        """
        now = time.monotonic()
        ready_by, found_by = now + max(_READY_S, wait_for_s), now + wait_for_s
        while True:
            try:
                return cls._attach_once(name, role)
            except SegmentNotFoundError:
                if time.monotonic() >= found_by:
                    raise
            except _NotReadyError:
                if time.monotonic() >= ready_by:
                    raise
            time.sleep(0.002)

    @classmethod
    def _attach_once(cls, name: str, role: Role) -> Ring:
        segment = Segment.open(segment_name(RING, name), name, read_only=role is Role.OBSERVER)
        try:
            return cls(name, segment, role)
        except BaseException:
            segment.close()
            raise

    @classmethod
    def create(cls, name: str, spec: RingSpec, *, mode: int, first: int = 0) -> Ring:
        """Create a ring, or take over the one that a dead writer left.

        Raises:
            WriterAliveError: its writer lives.
            SpaceError: /dev/shm is too small; nothing is left behind.
        """

        def fill(segment: Segment) -> Ring:
            segment.reserve(spec.geometry.total_bytes, mode, name)  # takes time: the lock is held already
            _initialise(segment, name, spec, first)
            return cls(name, segment, Role.WRITER).own()

        def inherit(segment: Segment) -> Ring | None:
            if segment.is_linked() and _holds(segment, name, spec):
                return cls(name, segment, Role.WRITER).own()
            cls._supersede(name, segment)
            return None

        return create_or_inherit(segment_name(RING, name), name, _become_writer, fill, inherit)

    @classmethod
    def _supersede(cls, name: str, segment: Segment) -> None:
        """Tell the readers of a dead writer's ring that it has no successor, and free the name."""
        with suppress(LayoutError):  # half created, another version, another boot: nobody can be reading it
            cls(name, segment, Role.WRITER, populate=False).raise_flag(SUPERSEDED)
        segment.unlink_if_ours()

    def own(self) -> Ring:
        """Write down that this process is the writer; the lock is held already."""
        pid, start, namespace = own_identity()
        self.words.store(word("writer_pid"), pid)
        self.words.store(word("writer_start"), start)
        self.words.store(word("writer_namespace"), namespace)
        self.words.store(word("flags"), 0)
        self.words.fetch_add(word("epoch"), 1)
        self.table.store(offset_of(TABLE, "wanted"), _NEVER)
        self.wake()
        return self

    def raise_flag(self, flag: int) -> None:
        """Mark the ring as ended or superseded and wake whoever sleeps on it."""
        self.words.store(word("flags"), self.words.load(word("flags")) | flag)
        self.wake()

    def wake(self) -> None:
        """Wake every sleeping reader."""
        self.table.wake(offset_of(TABLE, "wakes"))

    @property
    def epoch(self) -> int:
        """How many writers this generation has had; 1 before the first takeover."""
        return self.words.load(word("epoch"))

    @property
    def is_ended(self) -> bool:
        """The writer has said that no item follows."""
        return bool(self.words.load(word("flags")) & ENDED)

    @property
    def is_superseded(self) -> bool:
        """The name leads to another generation, or nowhere: close and attach anew."""
        return bool(self.words.load(word("flags")) & SUPERSEDED) or not self.segment.is_linked()

    @property
    def is_writer_alive(self) -> bool:
        """Another end than this one holds the writer's lock."""
        return locks.is_writer_alive(self.segment.fd)

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return two laps of the data, (2 * slots, *shape), and two of the times, int64; read-only for readers."""
        g, spec = self.spec.geometry, self.spec
        inner = np.empty(spec.shape, spec.dtype).strides if spec.shape else ()
        shape, strides = (2 * g.slots, *spec.shape), (g.stride, *inner)
        data: np.ndarray[Any, Any] = np.ndarray(shape, spec.dtype, self.data, strides=strides)  # type: ignore[arg-type]
        return data, array_of(self.times, np.dtype("<i8"), 2 * g.times_slots)

    def sections(self) -> tuple[object, ...]:
        """Return what the native end is attached to."""
        spec = self.spec
        dtype = None if spec.is_blob else spec.dtype
        geometry = spec.geometry.for_native(self.first)
        return geometry, self.words, self.table, self.times, self.lengths, self.data, dtype, spec.shape, *self.arrays()

    def close(self) -> None:
        """Give the locks back and let the memory go; views that are still held stay valid."""
        del self.data, self.times, self.lengths
        self.segment.close()


def _become_writer(segment: Segment, name: str) -> None:
    if not locks.lock_writer(segment.fd):
        raise WriterAliveError(f"{name}: its writer lives ({_writer_of(segment)}); stop it or choose another name")


def _holds(segment: Segment, name: str, spec: RingSpec) -> bool:
    """Tell whether a segment is a ready ring of exactly this description."""
    try:
        return RingSpec.from_header(_ready_header(segment, name), name) == spec
    except LayoutError:
        return False


class _NotReadyError(LayoutError):
    """The creator has not finished (or died before it had)."""


def _ready_header(segment: Segment, name: str) -> np.ndarray[Any, Any]:
    if segment.size < HEADER_BYTES:
        raise _NotReadyError(f"{name}: the segment is being created, or its creator died; create it anew")
    mapped = segment.map(0, HEADER_BYTES)
    magic = mapped.load(0)  # acquire: what the creator wrote before it is visible after it
    header: np.ndarray[Any, Any] = array_of(mapped, HEADER_DTYPE, 1)[0].copy()
    if magic == 0:
        raise _NotReadyError(f"{name}: the segment is being created, or its creator died; create it anew")
    if magic != _MAGIC_WORD:
        raise LayoutError(f"{name}: not a ring (magic {magic:#018x}, expected {_MAGIC_WORD:#018x})")
    if int(header["version"]) != VERSION:
        raise LayoutError(f"{name}: layout version {int(header['version'])}, this program reads {VERSION}")
    if bytes(header["boot_id"]).decode(errors="replace") != boot_id():
        raise LayoutError(f"{name}: left over from another boot; remove it with `pipeline clean`")
    held = bytes(header["full_name"]).decode(errors="replace")
    if held != name:
        raise LayoutError(f"{name}: the segment holds the ring {held!r}")
    if int(header["readers"]) != READERS:
        raise LayoutError(f"{name}: reader table of {int(header['readers'])} entries, expected {READERS}")
    return header


def _check_mappable(spec: RingSpec, segment: Segment, name: str) -> None:
    got, expected = segment.size, spec.geometry.total_bytes
    if got != expected:
        raise LayoutError(f"{name}: the segment has {got} bytes, its header says {expected}")
    if spec.geometry.granule % page_bytes():
        raise LayoutError(
            f"{name}: sections start on {spec.geometry.granule} bytes, pages of this machine are {page_bytes()}"
        )


def _writer_of(segment: Segment) -> str:
    """Describe the writer for a message, as far as the header tells."""
    offset = round_up(HEADER_BYTES, page_bytes())
    if segment.size < offset + page_bytes():
        return "still creating it"
    return f"pid {segment.map(offset, page_bytes()).load(word('writer_pid'))}"


def _initialise(segment: Segment, name: str, spec: RingSpec, first: int) -> None:
    record = header_record()
    spec.into_header(record)
    clock = ClockPair.now()
    record["version"], record["birth"], record["first"] = VERSION, secrets.randbits(64), first
    record["readers"] = READERS
    record["monotonic_ns"], record["realtime_ns"], record["clock"] = clock.monotonic_ns, clock.realtime_ns, clock.domain
    record["boot_id"], record["full_name"] = boot_id(), name.encode()
    header = segment.map(0, HEADER_BYTES, writable=True)
    array_of(header, HEADER_DTYPE, 1)[0] = record
    g = spec.geometry
    words = segment.map(g.words_offset, g.table_offset - g.words_offset, writable=True)
    words.store(word("claimed"), first)
    words.store(word("published"), first)
    header.store(0, _MAGIC_WORD)  # release: ready


def entry_offset(index: int) -> int:
    """Return where entry `index` starts in the reader table."""
    return TABLE_WORDS_BYTES + index * ENTRY_BYTES
