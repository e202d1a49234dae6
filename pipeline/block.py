"""Blocks: what streams are cut into to cross the wire, to rest in the Terminal's ring and to become HDF5 chunks.

B1  A block is `block_items` items of one stream and birth, first sequence first.  Its payload, decoded, is always
    ``block_items * item_bytes`` bytes: a short block is padded with zeros, so block on the wire == chunk in the file.
B2  Blocks of one run follow each other without a hole: ``first - lost`` is the end of the block before.  What is
    missing is said in `lost` and `lost_reason` of the next block, never by its absence.
B3  A block with ``count == 0`` carries no payload: END of a run, or GAP (a loss of another reason than the next one).
B4  Sizes are checked against the stream's own before anything is allocated or decoded.

No I/O here.  The tables in README.md are checked against `BlockHeader` by a test.
"""

from __future__ import annotations

import enum
import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from .codec import BLOSC_OVERHEAD, checksum, codec_of
from .errors import UNREADABLE, BlockError
from .stream_spec import MAX_BLOCK_BYTES, dtype_of_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from .stream_spec import StreamSpec

BLOCK_VERSION: Final = 1
_U32: Final = struct.Struct("<I")


class BlockFlag(enum.IntFlag):
    """What is special about a block."""

    NONE = 0
    BEGIN = 1
    """First of a run: `first - lost` is the origin."""
    END = 2
    """The run is over; ``count == 0`` and `first` is its end sequence."""
    GAP = 4
    """Only a loss; ``count == 0``."""


class BlockHeader(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The header of one block; on the wire a CRC-32 of the rest (4 bytes, little-endian), then this as msgpack."""

    version: int = BLOCK_VERSION
    stream: str
    birth: int
    epoch: int
    flags: int
    first: int
    count: int
    block_items: int
    origin: int
    lost: int
    lost_reason: str
    time_ns: int
    period_ns: int
    dtype: str
    shape: tuple[int, ...]
    codec: str
    raw_bytes: int
    payload_bytes: int
    crc: int

    @property
    def end(self) -> int:
        """Sequence after the last item."""
        return self.first + self.count

    @property
    def is_end(self) -> bool:
        """Whether the run is over with this block."""
        return bool(self.flags & BlockFlag.END)

    def to_frame(self) -> bytes:
        """Return the header's wire frame."""
        body = _encode(self)
        return _U32.pack(zlib.crc32(body)) + body

    @classmethod
    def from_frame(cls, frame: Buffer) -> BlockHeader:
        """Read a header's wire frame.

        Raises:
            BlockError: too short, damaged, of another version, or not a header.
        """
        view = memoryview(frame).cast("B")
        if view.nbytes < _U32.size:
            raise BlockError(f"a block header of {view.nbytes} bytes; even its CRC has {_U32.size}")
        body = view[_U32.size :]
        if _U32.unpack_from(view)[0] != zlib.crc32(body):
            raise BlockError(f"a block header of {view.nbytes} bytes fails its CRC; it was damaged on the way")
        try:
            version = _peek_version(body)
            if version != BLOCK_VERSION:
                raise BlockError(f"block version {version}, this side speaks {BLOCK_VERSION}; update the older side")
            return _decode(body)
        except UNREADABLE as error:
            raise BlockError(f"not a block header: {error}") from error


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(BlockHeader).decode
_decode_list: Final = msgspec.msgpack.Decoder(list[Any]).decode


def _peek_version(body: Buffer) -> object:
    # 0x9n / 0xdc: msgpack arrays; the version is the first element and below 128, so one byte.
    view = memoryview(body)
    if view.nbytes < 4:
        return None
    return view[3] if view[0] == 0xDC else view[1]


@dataclass(frozen=True, slots=True)
class Block:
    """A header with its times (int64, one per item, only when irregular) and payload."""

    header: BlockHeader
    times: Buffer
    payload: Buffer

    def to_frames(self) -> list[Buffer]:
        """Return header, times and payload as wire frames."""
        return [self.header.to_frame(), self.times, self.payload]

    def to_blob(self) -> list[Buffer]:
        """Return the parts that, joined, are the blob in the Terminal's ring."""
        frame = self.header.to_frame()
        return [_U32.pack(len(frame)), frame, self.times, self.payload]

    @classmethod
    def from_frames(cls, frames: Sequence[Buffer]) -> Block:
        """Read wire frames; nothing is copied.

        Raises:
            BlockError: not three frames, or sizes that the header does not say.
        """
        if len(frames) != 3:
            raise BlockError(f"a block of {len(frames)} frames, expected header, times, payload")
        block = cls(BlockHeader.from_frame(frames[0]), frames[1], frames[2])
        block.check_sizes()
        return block

    @classmethod
    def from_blob(cls, blob: Buffer) -> Block:
        """Read a blob of the Terminal's ring; times and payload are views into it.

        Raises:
            BlockError: not a block.
        """
        view = memoryview(blob).cast("B")
        start = _payload_start(view)
        header = BlockHeader.from_frame(view[_U32.size : start])
        middle = max(view.nbytes - header.payload_bytes, start)
        block = cls(header, view[start:middle], view[middle:])
        block.check_sizes()
        return block

    def check_sizes(self) -> None:
        """Compare the header with itself and with the frames beside it (B1, B3, B4)."""
        header, name = self.header, self.header.stream
        payload, times = memoryview(self.payload).nbytes, memoryview(self.times).nbytes
        if not (0 <= header.count <= header.block_items and header.first >= header.lost >= 0):
            raise BlockError(f"{name}: count={header.count} of {header.block_items}, first={header.first} "
                             f"lost={header.lost} contradict each other")  # fmt: skip
        if payload != header.payload_bytes or times not in (0, 8 * header.count):
            raise BlockError(f"{name}: payload of {payload} bytes, header says {header.payload_bytes}; times {times}")
        if any(n < 1 for n in header.shape) or math.prod(header.shape) > MAX_BLOCK_BYTES:
            raise BlockError(f"{name}: items of shape {header.shape}")
        limit = header.raw_bytes + BLOSC_OVERHEAD if header.count else 0
        if not 0 <= header.raw_bytes <= MAX_BLOCK_BYTES or payload > limit or (header.count and not payload):
            raise BlockError(f"{name}: payload of {payload} bytes for a block of {header.raw_bytes}")

    def check(self, spec: StreamSpec) -> None:
        """Refuse a block that is damaged or not of this stream.

        Raises:
            BlockError: names the stream, the item and what does not fit.
        """
        header = self.header
        if header.birth != spec.birth or header.stream != spec.stream:
            raise BlockError(f"block of {header.stream} birth {header.birth:x} on stream {spec.stream} {spec.birth:x}")
        if (header.dtype, header.shape, header.block_items) != (spec.dtype, spec.shape, spec.block_items):
            raise BlockError(f"{spec.stream}: block of {header.block_items} x {header.shape} {header.dtype}, "
                             f"opened as {spec.block_items} x {spec.shape} {spec.dtype}")  # fmt: skip
        if header.raw_bytes != (spec.raw_bytes if header.count else 0):
            raise BlockError(f"{spec.stream}: block of {header.raw_bytes} bytes, its items make {spec.raw_bytes}")
        if header.crc != checksum(self.times, self.payload):
            raise BlockError(f"{spec.stream} item {header.first}: payload fails its CRC; it was damaged on the way")

    def decode(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the items, shape (count, *shape).

        The payload must be memory of one's own, not a view into a ring that is being written.

        Args:
            out: where to decode to, C-contiguous, shape (count, *shape); a new array if None.

        Raises:
            BlockError: the payload does not decode to the block that the header describes.
        """
        header = self.header
        dtype = dtype_of_json(header.dtype)
        shape = (header.block_items, *header.shape)
        if header.count == 0:
            return np.empty((0, *header.shape), dtype) if out is None else out
        if math.prod(shape) * dtype.itemsize != header.raw_bytes or header.raw_bytes > MAX_BLOCK_BYTES:
            raise BlockError(
                f"{header.stream}: {shape} {dtype} is not the {header.raw_bytes} bytes that the header says"
            )
        fits = out is not None and header.count == header.block_items and out.flags.c_contiguous
        whole = out if fits and out is not None else np.empty(shape, dtype)
        codec_of(header.codec).decode_into(self.payload, whole.reshape(-1).view(np.uint8))
        if out is None or whole is out:
            return whole[: header.count]
        out[...] = whole[: header.count]
        return out

    def item_times(self) -> NDArray[np.int64]:
        """Return the time of each item, ns on the stream's clock, shape (count,)."""
        header = self.header
        if memoryview(self.times).nbytes:
            return np.frombuffer(memoryview(self.times), "<i8").astype(np.int64)
        steps = np.arange(header.count, dtype=np.int64)
        return steps * np.int64(header.period_ns) + np.int64(header.time_ns)


def header_of_blob(blob: Buffer) -> BlockHeader:
    """Read only the header of a blob of the Terminal's ring.

    Raises:
        BlockError: not a block.
    """
    view = memoryview(blob).cast("B")
    return BlockHeader.from_frame(view[_U32.size : _payload_start(view)])


def _payload_start(blob: memoryview) -> int:
    """Return where the header ends."""
    length: int = _U32.unpack_from(blob)[0] if blob.nbytes >= _U32.size else -1
    start = _U32.size + length
    if not _U32.size <= start <= blob.nbytes:
        raise BlockError(f"a blob of {blob.nbytes} bytes is no block: its header would have {length}")
    return start
