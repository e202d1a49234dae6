"""One file of a spool: blocks of one stream and birth, appended as they would have gone over the wire.

    file    8 bytes of magic, then records
    record  kind (4 bytes), three lengths (u32 LE each), CRC-32 of these 16 bytes, then the three parts:
            HEAD  [CRC-32 + msgpack of `SpoolHead`, nothing, nothing]     once, first
            BLOK  [header frame, times, payload] of a `Block`

Every byte is under a CRC: lengths here, the header frame under its own, times and payload under the header's.  What
was being written when the machine died ends the file early; a damaged record is passed over, and named.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from .block import Block, BlockHeader
from .codec import BLOSC_OVERHEAD, checksum
from .errors import UNREADABLE, BlockError
from .stream_spec import MAX_BLOCK_BYTES, StreamSpec

MAGIC: Final = b"\x89SPOOL\x01\n"
SUFFIX: Final = ".spool"
MAX_HEADER: Final = 256 * 1024
"""Bytes that a header may have; more is damage."""
_HEAD: Final = b"HEAD"
_BLOCK: Final = b"BLOK"
_FRAME: Final = struct.Struct("<4sIII")
_CRC: Final = struct.Struct("<I")
FRAME_BYTES: Final = _FRAME.size + _CRC.size
_MAX_PART: Final = MAX_BLOCK_BYTES + BLOSC_OVERHEAD
_LOOK: Final = 1024 * 1024
"""Bytes looked through at once for the next whole record."""


class SpoolHead(msgspec.Struct, frozen=True, array_like=True):
    """Whose blocks a file holds: of which Pilot, for which run, of which stream."""

    pilot: str
    run: str
    spec: StreamSpec


class SpoolRecord(NamedTuple):
    """Where one block lies."""

    first: int
    items: int
    path: Path
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Sequence after the last item."""
        return self.first + self.items


class Damage(NamedTuple):
    """Bytes of a file that are no record; what they held lay between two sequences, as far as known."""

    after: int | None
    before: int | None
    path: Path
    offset: int


class SpoolFile:
    """Appends to one file; belongs to one thread.

    Args:
        path: the file, which must not exist.
        head: whose blocks will be in it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, head: SpoolHead) -> None:
        self.path = path
        self.head = head
        self.size = 0
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        body = msgspec.msgpack.encode(head)
        try:
            self._append([MAGIC, *_record(_HEAD, [_CRC.pack(zlib.crc32(body)) + body, b"", b""])])
        except OSError:
            os.close(self.fd)
            path.unlink()
            raise

    def append(self, block: Block) -> SpoolRecord:
        """Write one block; it is durable after the next sync.

        Raises:
            OSError: the disk did not take it; the file ends before it.
        """
        offset = self.size
        self._append(_record(_BLOCK, block.to_frames()))
        return SpoolRecord(block.header.first, block.header.count, self.path, offset, self.size - offset)

    def close(self) -> None:
        """Close; what was written stays."""
        os.close(self.fd)

    def _append(self, parts: list[Any]) -> None:
        size = sum(memoryview(part).nbytes for part in parts)
        written = 0
        try:
            written = os.writev(self.fd, parts)
        finally:
            if written < size:  # a disk that fills up takes a part
                os.truncate(self.path, self.size)
        if written < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.size += size


def record_size(block: Block) -> int:
    """Return the bytes that a block takes in a file."""
    return FRAME_BYTES + sum(memoryview(part).nbytes for part in block.to_frames())


def scan_file(path: Path) -> tuple[SpoolHead, list[SpoolRecord], list[Damage]]:
    """Return what a file holds; payloads are not read.

    Raises:
        BlockError: it is no spool file, or its head is damaged.
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head, start = _read_head(fd, path)
        records: list[SpoolRecord] = []
        damages: list[Damage] = []
        for found in _records(fd, path, start, os.fstat(fd).st_size):
            if isinstance(found, SpoolRecord):
                if damages and damages[-1].before is None:
                    damages[-1] = damages[-1]._replace(before=found.first)
                records.append(found)
            else:
                damages.append(Damage(records[-1].end if records else None, None, path, found))
        return head, records, damages
    finally:
        os.close(fd)


def read_record(record: SpoolRecord) -> Block:
    """Return a block of a file.

    Raises:
        BlockError: it is not as it was written; the text names stream, item and file.
        OSError: the file cannot be read.
    """
    fd = os.open(record.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = memoryview(os.pread(fd, record.size, record.offset))
    finally:
        os.close(fd)
    where = f"item {record.first} in the spool file {record.path} at byte {record.offset}"
    lengths = _lengths(data[:FRAME_BYTES], _BLOCK)
    if lengths is None or FRAME_BYTES + sum(lengths) != len(data):
        raise BlockError(f"{where}: its record is damaged")
    cuts = [FRAME_BYTES, FRAME_BYTES + lengths[0], FRAME_BYTES + lengths[0] + lengths[1], len(data)]
    try:
        block = Block.from_frames([data[a:b] for a, b in itertools.pairwise(cuts)])
    except BlockError as error:
        raise BlockError(f"{where}: {error}") from error
    if block.header.crc != checksum(block.times, block.payload):
        raise BlockError(f"{block.header.stream} {where}: its payload fails its CRC; the disk damaged it")
    return block


def _record(kind: bytes, parts: list[Any]) -> list[Any]:
    frame = _FRAME.pack(kind, *(memoryview(part).nbytes for part in parts))
    return [frame, _CRC.pack(zlib.crc32(frame)), *parts]


def _lengths(frame: memoryview | bytes, kind: bytes) -> tuple[int, int, int] | None:
    """Return the lengths that a record's frame says; None if it is no frame of that kind."""
    if len(frame) < FRAME_BYTES or _CRC.unpack_from(frame, _FRAME.size)[0] != zlib.crc32(frame[: _FRAME.size]):
        return None
    found, header, times, payload = _FRAME.unpack_from(frame)
    is_sane = found == kind and header <= MAX_HEADER and times <= _MAX_PART and payload <= _MAX_PART
    return (header, times, payload) if is_sane else None


def _read_head(fd: int, path: Path) -> tuple[SpoolHead, int]:
    start = len(MAGIC)
    if os.pread(fd, start, 0) != MAGIC:
        raise BlockError(f"{path} is no spool file of this version")
    lengths = _lengths(os.pread(fd, FRAME_BYTES, start), _HEAD)
    body = os.pread(fd, lengths[0], start + FRAME_BYTES) if lengths is not None else b""
    if lengths is None or len(body) < _CRC.size or _CRC.unpack_from(body)[0] != zlib.crc32(body[_CRC.size :]):
        raise BlockError(f"{path}: its head is damaged, so nobody knows whose blocks it holds")
    try:
        return _decode_head(body[_CRC.size :]), start + FRAME_BYTES + lengths[0]
    except UNREADABLE as error:
        raise BlockError(f"{path}: its head cannot be read: {error}") from error


def _records(fd: int, path: Path, offset: int, size: int) -> Iterator[SpoolRecord | int]:
    """Yield whole records, and the offset of whatever is none."""
    while offset < size:
        record = _record_at(fd, path, offset, size)
        if record is None:
            following = _next_frame(fd, offset + 1, size)
            if following is None and _is_torn(fd, offset, size):
                return  # the last words of a machine that died
            yield offset
            offset = size if following is None else following
        else:
            if record.items:
                yield record
            offset += record.size


def _record_at(fd: int, path: Path, offset: int, size: int) -> SpoolRecord | None:
    lengths = _lengths(os.pread(fd, FRAME_BYTES, offset), _BLOCK)
    if lengths is None or offset + FRAME_BYTES + sum(lengths) > size:
        return None
    try:
        header = BlockHeader.from_frame(os.pread(fd, lengths[0], offset + FRAME_BYTES))
    except BlockError:
        return None
    return SpoolRecord(header.first, header.count, path, offset, FRAME_BYTES + sum(lengths))


def _is_torn(fd: int, offset: int, size: int) -> bool:
    """Tell whether what begins here was cut off, rather than damaged."""
    lengths = _lengths(os.pread(fd, FRAME_BYTES, offset), _BLOCK)
    return size - offset < FRAME_BYTES if lengths is None else offset + FRAME_BYTES + sum(lengths) > size


def _next_frame(fd: int, offset: int, size: int) -> int | None:
    """Return where the next frame of a block begins."""
    while offset < size:
        data = os.pread(fd, _LOOK + FRAME_BYTES, offset)
        at = data.find(_BLOCK)
        while 0 <= at < _LOOK:
            if _lengths(os.pread(fd, FRAME_BYTES, offset + at), _BLOCK) is not None:
                return offset + at
            at = data.find(_BLOCK, at + 1)
        offset += _LOOK
    return None


_decode_head: Final = msgspec.msgpack.Decoder(SpoolHead).decode
