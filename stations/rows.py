"""Rows of messages: what arrives at the Terminal as DATA and CONTINUOUS, on its way to the recorder.

Every such message becomes a row in the ring ``<rig>/<terminal>/rows`` before its listen returns, so its sender's
`done` means: it outlives this process.  The recorder reads the ring and stores each key as ``data/<key>``.

R1  A row that the recorder has not stored is never overwritten.  A full ring makes `append` wait, then fail: the
    sender is told, nothing is lost silently.
R2  That holds also while the recorder is dead, for `KEEP_S`: another one comes back within seconds.
R3  Rows of a key are numbered from 0 for as long as the ring lives.  A Terminal that comes back takes the ring over
    and goes on counting; a new ring has a new birth.
R4  While no run is recorded rows pass through the ring and are counted, not kept; a recording tells from which row of
    each key on it holds them (`origin`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Final, Self

from pipeline import Message
from shm import BlobWriter, ShmError, salvage

from .errors import RowsFullError, RowTooLargeError, TooManyKeysError
from .rows_ring import (
    META,
    READER,
    RING,
    Buffer,
    RowAssembler,
    RowCounts,
    RowHead,
    encode_counts,
    encode_row,
    key_name,
    parts_of,
)

PART_BYTES: Final = 4096
"""Bytes of a blob: most messages need one."""
SLOTS: Final = 4096
"""Blobs in the ring, 16 MiB: what a busy station takes while a recorder is started again after its death."""
LARGEST: Final = 4
"""A row takes at most this part of the ring (a quarter), so that the next fits while it is being stored."""
TIMEOUT_S: Final = 1.0
"""Longest wait for room, for all messages that wait together."""
KEEP_S: Final = 30.0
"""So long the rows of a recorder that died are kept; it is started again after 10 s at most."""
MAX_KEYS: Final = 128
"""Each key is an open file of the recorder's."""
LOOK_S: Final = 0.002
"""How often a waiting writer looks for room."""
NEAR: Final = 64
"""Parts written without a look for a recorder where there was none."""


class MessageRows:
    """Appends messages to the ring of rows; any thread may.

    Args:
        ring: its writer.
        counts: rows that are in the ring or were before.
        timeout_s: longest wait for room.
        keep_s: how long the rows of a dead recorder are kept.
    """

    def __init__(
        self, ring: BlobWriter, counts: RowCounts, *, timeout_s: float = TIMEOUT_S, keep_s: float = KEEP_S
    ) -> None:
        self.birth = ring.birth
        self.refused: Counter[str] = Counter()
        """Messages that were not accepted, by reason: full, too_large, keys."""
        self._ring = ring
        self._counts = counts
        self._timeout_s = timeout_s
        self._keeper = _Keeper(ring, keep_s)
        self._told_at = ring.published
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @classmethod
    def create(
        cls,
        rig: str,
        terminal: str,
        *,
        slots: int = SLOTS,
        part_bytes: int = PART_BYTES,
        timeout_s: float = TIMEOUT_S,
        keep_s: float = KEEP_S,
    ) -> MessageRows:
        """Create the ring of a Terminal, or take over the one that a dead Terminal left (R3).

        Args:
            rig: the rig's name.
            terminal: the Terminal's id.
            slots: parts that the ring holds.
            part_bytes: of one part; a row takes as many as it needs, up to a quarter of the ring.
            timeout_s: longest wait of `append` for room.
            keep_s: how long the rows of a dead recorder are kept.

        Raises:
            ShmError: the ring cannot be made; the message says why.
        """
        name = f"{rig}/{terminal}/{RING}"
        birth, counts = _left_behind(name)
        ring = BlobWriter.create(
            name, max_bytes=part_bytes, slots=slots, can_wait=True, timeout_s=timeout_s, meta=META, lossless=[READER]
        )
        return cls(ring, counts if ring.birth == birth else RowCounts(), timeout_s=timeout_s, keep_s=keep_s)

    @property
    def max_bytes(self) -> int:
        """Longest row."""
        return self._ring.max_bytes * (self._ring.slots // LARGEST)

    def append(self, key: str, message: Message) -> int:
        """Put a message into the ring as the next row of a key; it outlives this process once the call returns.

        Args:
            key: of the row; see `key_name`.
            message: what arrived; any value that can be sent.

        Returns:
            The number of the row within its key, from 0.

        Raises:
            RowsFullError: the recorder has not taken what is in the ring, and did not within the time-out.
            RowTooLargeError: the message is larger than `max_bytes`.
            TooManyKeysError: it would be the key number 129.
            UnsendableError: its value is nothing that can be sent.
        """
        deadline = time.monotonic() + self._timeout_s
        name = key_name(key)
        frames = message.serialize()
        lengths = tuple(len(frame) for frame in frames)
        size = sum(lengths)
        if size > self.max_bytes:
            self.refused["too_large"] += 1
            raise RowTooLargeError(f"data/{name}: a message of {size} bytes; at most {self.max_bytes}: use a stream")
        if not self._lock.acquire(timeout=self._timeout_s):
            raise self._full(name)
        try:
            return self._append(name, frames, lengths, deadline)
        finally:
            self._lock.release()

    def account(self) -> dict[str, Any]:
        """Return what was accepted, as plain values: the ring's birth (hex), rows and last number of each key."""
        with self._lock:
            keys = {key: {"count": count, "last": count - 1} for key, count in sorted(self._counts.keys.items())}
            return {"birth": f"{self.birth:016x}", "keys": keys, "refused": dict(self.refused)}

    def counts(self) -> dict[str, int]:
        """Return the rows accepted by key, since the birth of the ring."""
        with self._lock:
            return dict(self._counts.keys)

    def close(self, *, unlink: bool = True) -> None:
        """End the ring; whoever waits for room is refused. What the recorder has not read yet it still can."""
        self._closing.set()
        with self._lock:
            self._ring.close(unlink=unlink)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MessageRows {self._ring.name} rows={self._counts.total} refused={sum(self.refused.values())}>"

    def _append(self, key: str, frames: list[Buffer], lengths: tuple[int, ...], deadline: float) -> int:
        counts = self._counts
        sequence = counts.keys.get(key, 0)
        if not sequence and len(counts.keys) >= MAX_KEYS and key not in counts.keys:
            self.refused["keys"] += 1
            raise TooManyKeysError(f"data/{key}: there are {MAX_KEYS} keys already; send values, not names, by key")
        now_ns = time.monotonic_ns()
        head = RowHead(key, sequence, now_ns, lengths)
        self._make_room(key, parts_of(head, self._ring.max_bytes) + 2, deadline)
        if self._ring.published >= self._told_at:
            self._ring.write(*encode_counts(counts), time_ns=now_ns)
            self._told_at = self._ring.published + self._ring.slots // 4
        for blob in encode_row(head, frames, counts.total, self._ring.max_bytes):
            self._ring.write(*blob, time_ns=now_ns)
        counts.keys[key] = sequence + 1
        counts.total += 1
        return sequence

    def _make_room(self, key: str, parts: int, deadline: float) -> None:
        upto = self._ring.published + parts
        while not self._keeper.has_room(upto, time.monotonic()):
            if time.monotonic() >= deadline or self._closing.wait(LOOK_S):
                raise self._full(key)

    def _full(self, key: str) -> RowsFullError:
        self.refused["full"] += 1
        return RowsFullError(
            f"data/{key}: the recorder took nothing from the full ring {self._ring.name} within {self._timeout_s:g} s; "
            "look whether it runs and its disk is fast enough"
        )


class _Keeper:
    """Says how far may be written without passing what the recorder has not stored (R1, R2); looks when it must."""

    def __init__(self, ring: BlobWriter, keep_s: float) -> None:
        self._ring = ring
        self._keep_s = keep_s
        self._clear_to = 0
        self._kept: int | None = None
        self._missing_since: float | None = None

    def has_room(self, upto: int, now: float) -> bool:
        """Tell whether everything below `upto` may be written."""
        if upto > self._clear_to:
            self._look(upto, now)
        return upto <= self._clear_to

    def _look(self, upto: int, now: float) -> None:
        rows = [row for row in self._ring.readers() if row.name == READER and row.policy == "lossless"]
        alive = [row.position for row in rows if row.is_alive]
        if any(row.state == "joining" for row in rows if row.is_alive):
            return  # its position is not known yet
        if alive:
            self._kept, self._missing_since = min(alive), None
        elif rows:  # it died: its entry is there still
            self._missing_since = now if self._missing_since is None else self._missing_since
            died_at = min(row.position for row in rows)
            self._kept = died_at if now - self._missing_since < self._keep_s else None
        else:  # it left, or never was there
            self._kept = None
        slots = self._ring.slots
        # Somebody may join at any time, so that without a recorder the next look is near.
        self._clear_to = max(upto, self._ring.published + NEAR) if self._kept is None else self._kept + slots


def _left_behind(name: str) -> tuple[int, RowCounts]:
    """Return birth and counts of the ring that a dead Terminal left; read without joining, which a reader would see."""
    counts = RowCounts()
    try:
        left = salvage(name)
    except ShmError:
        return 0, counts  # none is there, or what is there cannot be taken over
    assembler = RowAssembler()
    for found in assembler.feed_all(bytes(item) for item in left.items):
        counts.take(found)
    return left.birth, counts
