"""Cuts blocks out of a ring: compressed straight from the ring's memory, and checked afterwards.

Where the writer waits for us, uncompressed blocks are sent straight from there too: what the Terminal has not
acknowledged is not overwritten.  If the writer loses its patience, the Terminal finds the checksum wrong.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shm import OverrunError, RingObserver, RingReader

from .block import Block, BlockHeader
from .codec import RawCodec, checksum, codec_of
from .codec_choice import Encoded, encoder_of
from .reduction import codec_for, reduced
from .stream_spec import HEADER_ROOM, ClockStamp, StreamSpec, block_items_for, dtype_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .forward_effects import Cut

LEAST_BLOCKS: Final = 4
"""Blocks that the Terminal's ring holds at least."""
RING_BYTES: Final = 64 * 1024 * 1024
"""What the Terminal's ring of a stream without a rate takes at most, if nobody says how many slots."""
_KNOWN: Final = frozenset({"rate", "regular", "period_ns", "labels", "unit", "meta"})


class RingCutter:
    """Makes blocks of one ring generation; one thread.

    Args:
        reader: of the ring, or who only looks at it; stays the caller's.
        stream: name under which the blocks travel.
        codec: see `encoder_of`.
        seconds: how much the Terminal's ring should keep ...
        slots: ... or how many blocks.
    """

    def __init__(
        self, reader: RingReader | RingObserver, stream: str, codec: str, *, seconds: float, slots: int | None
    ) -> None:
        self.reader = reader
        self.spec = spec_of(reader, stream, seconds=seconds, slots=slots)
        self._encoder = encoder_of(codec, self.spec.item_dtype)
        self._typesize = self.spec.item_dtype.itemsize
        self._padded: NDArray[np.uint8] | None = None

    def block(self, cut: Cut) -> Block | None:
        """Return the block that `cut` describes; None if the writer overwrote it before it was whole."""
        if cut.count == 0:
            return self._make(cut, Encoded("raw", b""), None)
        try:
            with self.reader.view(cut.count, at=cut.first) as run:
                # Whole with its checksum before the view is: that of a block which stays in the ring must be right.
                return self._make(cut, self._encode(run.data, cut.scale), np.array(run.times, np.int64))
        except OverrunError:
            return None

    def _encode(self, items: NDArray[Any], scale: int) -> Encoded:
        if scale > 1:
            codec = codec_of(codec_for(scale))
            return Encoded(codec.name, codec.encode(self._padded_bytes(reduced(items, scale)), self._typesize))
        padded = self._padded_bytes(items)
        encoded = self._encoder.encode(padded, self._typesize)
        if encoded.codec != RawCodec.name or (self.spec.can_wait and padded is not self._padded):
            return encoded
        return Encoded(encoded.codec, padded.tobytes())

    def _padded_bytes(self, items: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the bytes of a whole block; a short one is padded with zeros."""
        # Large items may lie apart in the ring, but then a block is a single one.
        dense = items[0] if len(items) == 1 else np.ascontiguousarray(items)
        flat = np.ascontiguousarray(dense).reshape(-1).view(np.uint8)
        if flat.nbytes == self.spec.raw_bytes:
            return flat
        if self._padded is None:
            self._padded = np.empty(self.spec.raw_bytes, np.uint8)
        self._padded[: flat.nbytes] = flat
        self._padded[flat.nbytes :] = 0
        return self._padded

    def _make(self, cut: Cut, encoded: Encoded, times: NDArray[np.int64] | None) -> Block:
        spec, payload = self.spec, encoded.payload
        time_ns, period_ns, sent = 0, spec.period_ns, b""
        if times is not None:
            time_ns = int(times[0])
            if len(times) > 1:
                # Rounded down, so that the last of this block is never later than the first of the next.
                period_ns = (int(times[-1]) - time_ns) // (len(times) - 1)
            if not spec.regular:
                sent = times.astype("<i8").tobytes()
        header = BlockHeader(
            stream=spec.stream,
            birth=spec.birth,
            epoch=cut.epoch,
            flags=int(cut.flags),
            first=cut.first,
            count=cut.count,
            block_items=spec.block_items,
            origin=cut.origin,
            lost=cut.lost,
            lost_reason=cut.lost_reason,
            time_ns=time_ns,
            period_ns=period_ns,
            dtype=spec.dtype,
            shape=spec.shape,
            codec=encoded.codec,
            raw_bytes=spec.raw_bytes if cut.count else 0,
            payload_bytes=memoryview(payload).nbytes,
            crc=checksum(sent, payload),
        )
        return Block(header, sent, payload)


def blocks_for(
    shape: tuple[int, ...], dtype: np.dtype[Any], rate: float | None, regular: bool, *, slots: int, seconds: float
) -> tuple[int, int]:
    """Return the items of a block, and how many blocks the Terminal's ring holds.

    Args:
        shape: of an item.
        dtype: of an item.
        rate: items/s; None if there is none.
        regular: whether items are evenly spaced.
        slots: items of the Pilot's ring.
        seconds: how much the Terminal's ring should keep.
    """
    items = block_items_for(shape, dtype.itemsize, rate, regular)
    while items > 1 and items * LEAST_BLOCKS > slots:  # a block must be whole long before it is lapped
        items //= 2
    item_bytes = math.prod(shape) * dtype.itemsize
    most = max(LEAST_BLOCKS, RING_BYTES // (items * item_bytes + HEADER_ROOM))
    return items, max(LEAST_BLOCKS, -(-round(seconds * rate) // items) if rate else min(most, slots // items))


def spec_of(reader: RingReader | RingObserver, stream: str, *, seconds: float, slots: int | None) -> StreamSpec:
    """Describe a ring as a stream; what its maker said in `meta` beyond the known words goes to `StreamSpec.meta`."""
    meta: Mapping[str, Any] = reader.meta
    rate = meta.get("rate")
    regular = bool(meta.get("regular", True))
    items, least = blocks_for(reader.shape, reader.dtype, rate, regular, slots=reader.slots, seconds=seconds)
    slots = least if slots is None else slots
    return StreamSpec(
        stream=stream,
        birth=reader.birth,
        epoch=reader.epoch,
        dtype=dtype_json(reader.dtype),
        shape=tuple(reader.shape),
        block_items=items,
        slots=slots,
        rate=rate,
        regular=regular,
        period_ns=int(meta.get("period_ns", 0)) or (round(1e9 / rate) if rate else 0),
        labels=tuple(meta.get("labels", ())),
        unit=str(meta.get("unit", "")),
        clock=ClockStamp(reader.clock.domain, reader.clock.monotonic_ns, reader.clock.realtime_ns),
        can_wait=bool(reader.can_wait),
        meta={**{key: value for key, value in meta.items() if key not in _KNOWN}, **dict(meta.get("meta", {}))},
    )
