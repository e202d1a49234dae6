"""Makes streams of blocks as a Pilot sends them, without a Pilot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.backfill_name import PILOT, RUN, backfill_of
from pipeline.block import Block, BlockFlag, BlockHeader
from pipeline.codec import checksum, codec_of
from pipeline.stream_spec import ClockStamp, StreamSpec
from stations.recording import SegmentReader

BIRTH = 0xFEDC_BA98_7654_3210
START_NS = 1_000_000_000


class MadeStream:
    """A stream whose every item follows from its sequence.

    Args:
        stream: its name.
        shape: of an item.
        dtype: of an item.
        block_items: items per block.
        rate: items per second.
        regular: whether blocks carry no times of their own.
    """

    def __init__(
        self,
        stream: str = "pilot1.cam0",
        *,
        shape: tuple[int, ...] = (12, 16, 3),
        dtype: str = "|u1",
        block_items: int = 1,
        rate: float = 100.0,
        regular: bool = True,
        birth: int = BIRTH,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.period_ns = round(1e9 / rate)
        self.spec = StreamSpec(
            stream=stream,
            birth=birth,
            dtype=f'"{dtype}"',
            shape=shape,
            block_items=block_items,
            slots=8,
            rate=rate,
            regular=regular,
            period_ns=self.period_ns,
            labels=("a", "ü"),
            unit="V",
            clock=ClockStamp("box", 5, 7),
            meta=meta or {},
        )

    def items(self, first: int, count: int) -> NDArray[Any]:
        """Return items by sequence, shape (count, *shape): smooth, so that they compress, and all different."""
        size = int(np.prod(self.spec.shape))
        rows = np.arange(first, first + count)[:, None] * 7 + np.arange(size)[None, :] // 5
        return rows.astype(self.dtype).reshape(count, *self.spec.shape)

    def times(self, first: int, count: int) -> NDArray[np.int64]:
        """Return times by sequence, ns."""
        return START_NS + np.arange(first, first + count, dtype=np.int64) * self.period_ns

    def block(self, first: int, count: int | None = None, **header: Any) -> Block:
        """Return one block; `header` replaces what would stand there."""
        spec = self.spec
        count = spec.block_items if count is None else count
        codec = header.pop("codec", "blosc")
        items = header.pop("items", None)
        whole = np.zeros((spec.block_items, *spec.shape), self.dtype)
        whole[:count] = self.items(first, count) if items is None else items
        flat = whole.reshape(-1).view(np.uint8)
        payload = bytes(codec_of(codec).encode(flat, self.dtype.itemsize)) if count else b""
        times = b"" if spec.regular else self.times(first, count).astype("<i8").tobytes()
        values = {
            "stream": spec.stream, "birth": spec.birth, "epoch": 0, "flags": 0, "first": first, "count": count,
            "block_items": spec.block_items, "origin": 0, "lost": 0, "lost_reason": "",
            "time_ns": int(self.times(first, 1)[0]), "period_ns": self.period_ns, "dtype": spec.dtype,
            "shape": spec.shape, "codec": codec, "raw_bytes": flat.nbytes if count else 0,
            "payload_bytes": len(payload), "crc": checksum(times, payload), **header,
        }  # fmt: skip
        return Block(BlockHeader(**values), times, payload)

    def blocks(self, first: int, end: int, **header: Any) -> Iterator[Block]:
        """Yield the blocks of [first, end); the last may be short."""
        for at in range(first, end, self.spec.block_items):
            yield self.block(at, min(self.spec.block_items, end - at), **header)

    def end(self, at: int, **header: Any) -> Block:
        """Return the END of a run."""
        return self.block(at, 0, flags=int(BlockFlag.END), **header)


def late_spec(made: MadeStream, run: str = "/rec/1") -> StreamSpec:
    """Return the spec of a stream's backfill."""
    told = {RUN: run, PILOT: "pilot1"}
    return msgspec.structs.replace(made.spec, stream=backfill_of(made.spec.stream), meta=told)


def late(block: Block, **header: Any) -> Block:
    """Return a block as it comes out of a spool."""
    header = {"stream": backfill_of(block.header.stream), "flags": 0, **header}
    return Block(msgspec.structs.replace(block.header, **header), block.times, block.payload)


def spoil(recording: Path, stream: str, item: int) -> None:
    """Change one byte of the block that begins with this item."""
    (path,) = recording.glob(f"{stream}_part-*.h5")
    with SegmentReader(path) as segment:
        payload = next(chunk.payload for chunk in segment if chunk.first == item)
    content = path.read_bytes()
    assert 1 == content.count(payload)
    at = content.index(payload) + len(payload) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
