"""Counters in shared memory: one process counts, anybody looks.

A page belongs to one process. It outlives it, so that the counts of a process that died can still be read, and its
successor goes on from them.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from . import locks
from ._native import Mapping
from .errors import ClosedError, LayoutError, SpecError, TableFullError, WriterAliveError
from .layout import (
    COUNTER,
    COUNTER_BYTES,
    COUNTER_DTYPE,
    COUNTERS_HEADER,
    COUNTERS_HEADER_BYTES,
    COUNTERS_HEADER_DTYPE,
    COUNTERS_MAGIC,
    VERSION,
    offset_of,
    round_up,
)
from .process import boot_id, own_identity
from .segment import COUNTERS, Segment, array_of, page_bytes, segment_name
from .succession import create_or_inherit

_MAGIC_WORD: Final = int.from_bytes(COUNTERS_MAGIC, "little")
_VALUE: Final = offset_of(COUNTER, "value")
_LABEL_BYTES: Final = COUNTER_DTYPE["label"].itemsize
_SIGN: Final = 1 << 63
MAX_COUNT: Final = _SIGN - 1
"""Largest value of a counter: of an unsigned word, say a birth, it holds these bits."""
CAPACITY: Final = 256
"""Counters of a page if nobody says how many: 17 KiB."""


def _at(name: str) -> int:
    return offset_of(COUNTERS_HEADER, name)


class Counter:
    """One signed 64-bit count; `add` is atomic over the threads of its process."""

    __slots__ = ("_memory", "_offset", "label")

    def __init__(self, label: str, memory: Mapping, offset: int) -> None:
        self.label = label
        self._memory = memory
        self._offset = offset

    def add(self, n: int = 1) -> None:
        """Add `n`, which may be negative."""
        self._memory.fetch_add(self._offset, n)

    def set(self, value: int) -> None:
        """Replace the value, for what is a level rather than a count."""
        self._memory.store(self._offset, value)

    @property
    def value(self) -> int:
        """The value now."""
        return _signed(self._memory.load(self._offset))

    def __repr__(self) -> str:
        return f"<Counter {self.label}={self.value}>"


def counters_bytes(capacity: int = CAPACITY) -> int:
    """Return the bytes of /dev/shm that a page of so many counters takes."""
    return round_up(COUNTERS_HEADER_BYTES + capacity * COUNTER_BYTES, page_bytes())


class Counters:
    """A page of counters with labels.

    counters = Counters.create("demo/pilot1")
    sent = counters.counter("cam0.sent")
    sent.add(1)

    Counters.attach("demo/pilot1").read()      # {"cam0.sent": 1}
    """

    def __init__(self, name: str, segment: Segment, *, owned: bool) -> None:
        self.name = name
        self._segment = segment
        self._owned = owned
        self._is_open = True
        self._lock = threading.Lock()
        self._memory = segment.map(0, segment.size, writable=owned)
        header = _header(self._memory)
        self.capacity = int(header["capacity"])
        self._records = array_of(self._memory, COUNTER_DTYPE, self.capacity, COUNTERS_HEADER_BYTES)
        self._counters = {c.label: c for c in self._existing()}
        if owned:
            self._sign()

    @classmethod
    def create(cls, name: str, capacity: int = CAPACITY, *, mode: int = 0o600) -> Counters:
        """Create a page, or take over the one a dead process left, with its values.

        Args:
            name: full name, as a ring's.
            capacity: counters that fit; 64 bytes each.
            mode: of the segment.

        Raises:
            WriterAliveError: its owner lives.
        """
        if capacity < 1:
            raise SpecError(f"capacity={capacity}: expected at least 1")
        size = counters_bytes(capacity)

        def fill(segment: Segment) -> Counters:
            segment.reserve(size, mode, name)
            _initialise(segment, name, capacity, size)
            return cls(name, segment, owned=True)

        def inherit(segment: Segment) -> Counters | None:
            if segment.is_linked() and segment.size == size and _is_ready(segment, name):
                return cls(name, segment, owned=True)
            segment.unlink_if_ours()
            return None

        return create_or_inherit(segment_name(COUNTERS, name), name, _become_owner, fill, inherit)

    @classmethod
    def attach(cls, name: str) -> Counters:
        """Open a page read-only.

        Raises:
            SegmentNotFoundError: there is none.
            LayoutError: it is not one that this version reads.
        """
        segment = Segment.open(segment_name(COUNTERS, name), name, read_only=True)
        try:
            _require_ready(segment, name)
            return cls(name, segment, owned=False)
        except BaseException:
            segment.close()
            raise

    def counter(self, label: str) -> Counter:
        """Return the counter of that label, made if need be; any thread of the owner.

        Raises:
            TableFullError: the page is full.
        """
        self._check_open()
        with self._lock:
            found = self._counters.get(label)
            if found is None:
                found = self._counters[label] = self._add(label)
            return found

    def _add(self, label: str) -> Counter:
        encoded = label.encode()
        if not self._owned:
            raise PermissionError(f"{self.name}: attached read-only; only its owner counts")
        if not 0 < len(encoded) <= _LABEL_BYTES or "\x00" in label:
            raise SpecError(f"label={label!r}: expected 1 to {_LABEL_BYTES} bytes of UTF-8 without NUL")
        index = self._memory.load(_at("count"))
        if index >= self.capacity:
            raise TableFullError(
                f"{self.name}: all {self.capacity} counters are used; create it with a larger capacity"
            )
        self._records["label"][index] = encoded
        self._memory.store(_at("count"), index + 1)  # released: whoever sees the count sees the label
        return self._at_index(label, index)

    def read(self) -> dict[str, int]:
        """Return all labels and values, in the order they were made."""
        self._check_open()
        if self._owned:
            return {label: c.value for label, c in list(self._counters.items())}
        return {c.label: c.value for c in self._existing()}

    @property
    def owner_pid(self) -> int:
        """Process that counts, or counted last."""
        return self._memory.load(_at("pid"))

    @property
    def owner_alive(self) -> bool:
        """Somebody holds the page's lock."""
        return self._owned or locks.is_writer_alive(self._segment.fd)

    def close(self, *, unlink: bool = True) -> None:
        """Let go of the page.

        Args:
            unlink: if we own it, remove its name too.
        """
        if not self._is_open:
            return
        self._is_open = False
        if self._owned and unlink:
            self._segment.unlink_if_ours()
        self._segment.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; the owner unlinks."""
        self.close()

    def __repr__(self) -> str:
        state = "closed" if not self._is_open else "owned" if self._owned else "read-only"
        return f"<Counters {self.name} {state} {len(self._counters)}/{self.capacity}>"

    def _sign(self) -> None:
        """Write down that this process counts here; the lock is held already."""
        pid, start, namespace = own_identity()
        for name, value in (("pid", pid), ("start", start), ("namespace", namespace)):
            self._memory.store(_at(name), value)
        self._memory.store(_at("opened_ns"), time.monotonic_ns())

    def _existing(self) -> list[Counter]:
        count = min(self._memory.load(_at("count")), self.capacity)
        labels = self._records["label"][:count]
        return [self._at_index(bytes(label).decode(errors="replace"), i) for i, label in enumerate(labels)]

    def _at_index(self, label: str, index: int) -> Counter:
        return Counter(label, self._memory, COUNTERS_HEADER_BYTES + index * COUNTER_BYTES + _VALUE)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError(f"{self.name}: these counters are closed")


def _become_owner(segment: Segment, name: str) -> None:
    if not locks.lock_writer(segment.fd):
        raise WriterAliveError(f"{name}: another process counts here; stop it or choose another name")


def _signed(value: int) -> int:
    return value - 2 * _SIGN if value & _SIGN else value


def _header(memory: Mapping) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = array_of(memory, COUNTERS_HEADER_DTYPE, 1)[0].copy()
    return found


def _initialise(segment: Segment, name: str, capacity: int, size: int) -> None:
    memory = segment.map(0, size, writable=True)
    record = array_of(memory, COUNTERS_HEADER_DTYPE, 1)[0]
    record["version"], record["capacity"], record["total_bytes"] = VERSION, capacity, size
    record["boot_id"], record["full_name"] = boot_id(), name.encode()
    memory.store(0, _MAGIC_WORD)  # release: ready


def _is_ready(segment: Segment, name: str) -> bool:
    try:
        _require_ready(segment, name)
    except LayoutError:
        return False
    return True


def _require_ready(segment: Segment, name: str) -> None:
    if segment.size < COUNTERS_HEADER_BYTES:
        raise LayoutError(f"{name}: the page is being created, or its creator died")
    memory = segment.map(0, COUNTERS_HEADER_BYTES)
    magic = memory.load(0)
    header = _header(memory)
    if magic != _MAGIC_WORD or int(header["version"]) != VERSION:
        raise LayoutError(f"{name}: no page of counters that this program reads (magic {magic:#018x})")
    if bytes(header["boot_id"]).decode(errors="replace") != boot_id() or int(header["total_bytes"]) != segment.size:
        raise LayoutError(f"{name}: left over from another boot or of another size; remove it with `pipeline clean`")
    held = bytes(header["full_name"]).decode(errors="replace")
    if held != name:
        raise LayoutError(f"{name}: the segment holds the counters of {held!r}")
    if COUNTERS_HEADER_BYTES + int(header["capacity"]) * COUNTER_BYTES > segment.size:
        raise LayoutError(f"{name}: {int(header['capacity'])} counters do not fit into its {segment.size} bytes")
