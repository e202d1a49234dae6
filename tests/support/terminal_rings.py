"""The Terminal's rings without a Pilot: streams written as blocks, in real time, by a thread of the test."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.block import Block, BlockFlag, BlockHeader
from pipeline.codec import checksum
from pipeline.ingest_ring import IngestRing
from pipeline.stream_spec import ClockStamp, StreamSpec, dtype_json
from pipeline.transport import Context
from shm import clock_domain

MakeItems = Callable[[NDArray[np.int64]], NDArray[Any]]
"""From sequences (n,) to items (n, *shape)."""


class WrittenStream:
    """One stream, written as fast as its rate says."""

    def __init__(self, rig: str, context: Context, spec: StreamSpec, make: MakeItems) -> None:
        self.spec, self._make = spec, make
        self._ring = IngestRing(f"{rig}/T/{spec.stream}", spec, context)
        self.next = 0
        self._began_ns = time.monotonic_ns()

    def write_due(self) -> None:
        """Write the blocks whose last item lies in the past."""
        rate, items = self.spec.rate or 1.0, self.spec.block_items
        while (time.monotonic_ns() - self._began_ns) / 1e9 * rate >= self.next + items:
            self._ring.store(self._block(items))
            self.next += items

    def _block(self, count: int) -> Block:
        spec = self.spec
        payload = np.ascontiguousarray(self._make(np.arange(self.next, self.next + count)), spec.item_dtype).tobytes()
        header = BlockHeader(
            stream=spec.stream, birth=spec.birth, epoch=1, flags=int(BlockFlag.BEGIN if self.next == 0 else 0),
            first=self.next, count=count, block_items=spec.block_items, origin=0, lost=0, lost_reason="",
            time_ns=self._began_ns + int(self.next / (spec.rate or 1.0) * 1e9), period_ns=int(1e9 / (spec.rate or 1.0)),
            dtype=spec.dtype, shape=spec.shape, codec="raw", raw_bytes=len(payload), payload_bytes=len(payload),
            crc=checksum(b"", payload),
        )  # fmt: skip
        return Block(header, b"", payload)

    def close(self) -> None:
        """End the ring and take its name away."""
        self._ring.close(unlink=True)


class TerminalRings:
    """Writes streams until it is closed."""

    def __init__(self, rig: str) -> None:
        self.rig = rig
        self.streams: dict[str, WrittenStream] = {}
        self.paused: set[str] = set()
        self._context = Context()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="terminal rings")

    def add(
        self, stream: str, shape: tuple[int, ...], dtype: str, rate: float, make: MakeItems, *, block_items: int = 1,
        labels: tuple[str, ...] = (), unit: str = "", seconds: float = 8.0,
    ) -> None:  # fmt: skip
        """Make a stream's ring; before the writing begins.

        It holds more than an ingest keeps for a recorder that is still to come: a full one would stand still.
        """
        spec = StreamSpec(
            stream=stream, birth=secrets.randbits(63), dtype=dtype_json(np.dtype(dtype)), shape=shape,
            block_items=block_items, slots=max(8, int(seconds * rate / block_items)), rate=rate,
            period_ns=int(1e9 / rate), labels=labels, unit=unit, clock=ClockStamp(clock_domain()),
        )  # fmt: skip
        self.streams[stream] = WrittenStream(self.rig, self._context, spec, make)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for stream in self.streams.values():
            stream.close()
        self._context.close()

    def _run(self) -> None:
        while not self._over.wait(0.005):
            for name, stream in self.streams.items():
                if name not in self.paused:
                    stream.write_due()


def moving_image(sequences: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return images (n, 120, 160, 3) whose colours move with their number."""
    rows, columns = np.mgrid[0:120, 0:160]
    red = columns[None] + 3 * sequences[:, None, None]
    green = np.broadcast_to(rows[None] * 2, red.shape)
    return np.stack([red, green, 255 - green], axis=3).astype(np.uint8)


def wave(channels: int, rate: float) -> MakeItems:
    """Return sine waves (n, channels) int16 of 1 to `channels` Hz."""
    frequencies = np.arange(1, channels + 1)

    def make(sequences: NDArray[np.int64]) -> NDArray[np.int16]:
        angle = 2 * np.pi * sequences[:, None] / rate * frequencies
        items: NDArray[np.int16] = (1000 * np.sin(angle)).astype(np.int16)
        return items

    return make
