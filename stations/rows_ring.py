"""What stands in the ring of message rows: rows cut into parts, and now and then how many rows each key has.

No I/O.  The ring's blobs are small, so that a thousand small rows are retained and a large one still fits:

    [ version u1, kind u1, part u2, parts u2, head_bytes u2, number u8 ]  16 bytes, little-endian, in front of each part
    ROW      parts joined: head (msgpack: key, sequence, time_ns, length of each frame), then the message's frames
    COUNTS   msgpack: {key: rows accepted}, once in a quarter of the ring, so that the counts can always be recovered

A row is accepted when its last part is in the ring.  A writer that died in the middle of one leaves parts that nobody
takes for a row: the next row begins with part 0 again.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pipeline.errors import UNREADABLE

from .errors import StationError

RING: Final = "rows"
"""Last part of the ring's name, ``<rig>/<terminal>/rows``."""
READER: Final = "recorder"
"""Name of the one reader that the writer waits for."""
VERSION: Final = 1
META: Final[Mapping[str, Any]] = {"kind": "rows", "version": VERSION}
"""What the ring says of itself; no stream of blocks is described so."""
ROW: Final = 1
COUNTS: Final = 2
PREFIX: Final = "data/"
"""What the name of a key's stream begins with, e.g. ``data/DATA``."""
MAX_PARTS: Final = 65535
KEY_BYTES: Final = 60
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_FRONT: Final = struct.Struct("<BBHHHQ")
FRONT_BYTES: Final = _FRONT.size

Buffer = bytes | memoryview


def key_name(key: str) -> str:
    """Return the name that a key has in a recording: up to 60 letters, digits, `_` and `-`, `_` for all else."""
    return _ODD.sub("_", key)[:KEY_BYTES] or "_"


class DamagedRowError(StationError, ValueError):
    """Bytes in the ring that are no row of this version; the writer's fault, or of another program."""


class RowHead(msgspec.Struct, array_like=True, frozen=True):
    """What stands before a row's frames."""

    key: str
    sequence: int
    """Number of the row within its key, from 0."""
    time_ns: int
    """When the Terminal accepted it, its CLOCK_MONOTONIC."""
    lengths: tuple[int, ...]
    """Bytes of each frame."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it comes out of the ring."""

    key: str
    sequence: int
    time_ns: int
    frames: tuple[Buffer, ...]
    """The message, as `pipeline.Message(frames)` reads it."""


@dataclass(slots=True)
class RowCounts:
    """Rows accepted by key, and by all; follows what comes out of the ring."""

    keys: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def take(self, found: Row | RowCounts) -> None:
        """Count a row, or learn what the writer counted."""
        if isinstance(found, Row):
            self.keys[found.key] = found.sequence + 1
            self.total += 1
        else:
            self.keys |= found.keys
            self.total = found.total

    def copy(self) -> RowCounts:
        """Return counts of their own."""
        return RowCounts(dict(self.keys), self.total)


_heads: Final = msgspec.msgpack.Decoder(RowHead)
_counts: Final = msgspec.msgpack.Decoder(dict[str, int])


def encode_row(head: RowHead, frames: Sequence[Buffer], number: int, part_bytes: int) -> list[list[Buffer]]:
    """Return the blobs of a row, each as the buffers that follow each other in it.

    Args:
        head: its head.
        frames: the message, ``head.lengths`` long.
        number: rows of all keys before it.
        part_bytes: of a blob.
    """
    encoded = msgspec.msgpack.encode(head)
    room = part_bytes - FRONT_BYTES
    size = len(encoded) + sum(head.lengths)
    if size <= room:
        return [[_FRONT.pack(VERSION, ROW, 0, 1, len(encoded), number), encoded, *frames]]
    body = memoryview(b"".join((encoded, *frames)))
    parts = -(-size // room)
    return [
        [_FRONT.pack(VERSION, ROW, part, parts, len(encoded), number), body[part * room : (part + 1) * room]]
        for part in range(parts)
    ]


def parts_of(head: RowHead, part_bytes: int) -> int:
    """Return how many blobs `encode_row` makes at most."""
    overhead = 64 + len(head.key) + 9 * len(head.lengths)
    return -(-(overhead + sum(head.lengths)) // (part_bytes - FRONT_BYTES))


def encode_counts(counts: RowCounts) -> list[Buffer]:
    """Return the blob that tells the counts."""
    return [_FRONT.pack(VERSION, COUNTS, 0, 1, 0, counts.total), msgspec.msgpack.encode(counts.keys)]


class RowAssembler:
    """Puts rows together from the ring's blobs, fed in order."""

    def __init__(self) -> None:
        self.damaged = 0
        """Blobs that are no part of anything."""
        self._parts: list[memoryview] = []
        self._of = (-1, 0)

    @property
    def is_between(self) -> bool:
        """Whether no row is half read: whoever goes on from here misses nothing."""
        return not self._parts

    def feed(self, blob: bytes) -> Row | RowCounts | None:
        """Take the next blob; return what it completes."""
        try:
            return self._feed(blob)
        except (struct.error, *UNREADABLE, DamagedRowError):
            self._parts.clear()
            self.damaged += 1
            return None

    def feed_all(self, blobs: Iterator[bytes]) -> Iterator[Row | RowCounts]:
        """Yield what the blobs hold."""
        return (found for blob in blobs if (found := self.feed(blob)) is not None)

    def _feed(self, blob: bytes) -> Row | RowCounts | None:
        version, kind, part, parts, head_bytes, number = _FRONT.unpack_from(blob)
        body = memoryview(blob)[FRONT_BYTES:]
        if version != VERSION or kind not in (ROW, COUNTS):
            raise DamagedRowError(f"version {version}, kind {kind}")
        if kind == COUNTS:
            return RowCounts(_counts.decode(body), number)
        if part == 0:
            self._parts.clear()
            self._of = (number, parts)
        elif self._of != (number, parts) or part != len(self._parts):
            raise DamagedRowError(f"part {part} of row {number} does not follow")
        self._parts.append(body)
        if part + 1 < parts:
            return None
        whole = self._parts[0] if parts == 1 else memoryview(b"".join(self._parts))
        self._parts.clear()
        return _row_of(whole, head_bytes)


def _row_of(whole: memoryview, head_bytes: int) -> Row:
    head = _heads.decode(whole[:head_bytes])
    if any(length < 0 for length in head.lengths) or head_bytes + sum(head.lengths) != len(whole):
        raise DamagedRowError(f"row of {len(whole)} bytes, its head says {head_bytes} and {head.lengths}")
    frames, at = [], head_bytes
    for length in head.lengths:
        frames.append(whole[at : at + length])
        at += length
    return Row(head.key, head.sequence, head.time_ns, tuple(frames))
