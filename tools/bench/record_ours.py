"""Streams of blocks made before the clock starts, who puts them into the Terminal's rings, and the recorder at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.block import Block, BlockHeader
from pipeline.codec import checksum, codec_of
from pipeline.notify import Notices, Notifier
from pipeline.stream_spec import StreamSpec, dtype_json
from pipeline.transport import Context
from shm import BlobWriter, segment_name

from .camera_pool import SHAPE, make_images
from .child import BenchError, Control
from .forward_ours import PATIENCE_S, STREAM, Job
from .promises import STORED_MB_S

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHANNELS: Final = 32
RATE: Final = 30_000.0
SAMPLES: Final = 1024
"""Samples of a block, as a forwarder cuts them."""
SIGNAL: Final = "p.sig"
SLOTS: Final = 64
SETTLE_S: Final = 1.0
LEAST: Final = 0.95
"""Share of the bytes offered that must be stored for the processor time to mean anything."""


def images(codec: str) -> list[Buffer]:
    """Return the payloads of blocks of one image."""
    return [_encoded(codec, image.reshape(-1), 1) for image in make_images()]


def samples(codec: str = "blosc") -> list[Buffer]:
    """Return the payloads of blocks of samples: waves, and noise in their last bits."""
    random, times = np.random.default_rng(1), np.arange(32 * SAMPLES) / RATE
    waves = 8000 * np.sin(2 * np.pi * times[:, None] * np.arange(1, CHANNELS + 1))
    blocks = (waves + random.normal(0, 10, waves.shape)).astype("<i2").reshape(32, -1)
    return [_encoded(codec, block.view("u1"), 2) for block in blocks]


class BlockRing:
    """A Terminal's ring that is filled with the same payloads again and again.

    Args:
        rig: name of the rig.
        stream: name of the stream.
        codec: of the payloads.
        payloads: of whole blocks.
        context: for its notices.
    """

    def __init__(self, rig: str, stream: str, codec: str, payloads: Sequence[Buffer], context: Context) -> None:
        shape, dtype, items, rate = (
            ((CHANNELS,), "<i2", SAMPLES, RATE) if stream == SIGNAL else (SHAPE, "|u1", 1, 400.0)
        )
        kind = np.dtype(dtype)
        self._told: dict[str, Any] = {"stream": stream, "birth": 1, "dtype": dtype_json(kind), "shape": shape}
        self._told |= {"block_items": items, "period_ns": round(1e9 / rate)}
        spec = StreamSpec(**self._told, slots=SLOTS, rate=rate)
        self._told |= {"codec": codec, "raw_bytes": spec.raw_bytes, "count": items, "epoch": 1, "flags": 0}
        self._told |= {"origin": 0, "lost": 0, "lost_reason": ""}
        self._pool = [(payload, checksum(b"", payload)) for payload in payloads]
        self._next = 0
        name = f"{rig}/T/{stream}"
        self._ring = BlobWriter.create(
            name, max_bytes=spec.slot_bytes, slots=SLOTS, can_wait=True, timeout_s=PATIENCE_S, meta=spec.to_meta(),
            notifier=Notifier(context, segment_name("r", name)),
        )  # fmt: skip

    def write(self) -> None:
        """Put the next block in."""
        payload, crc = self._pool[self._next % len(self._pool)]
        first = self._next * self._told["block_items"]
        sizes: dict[str, Any] = {"payload_bytes": memoryview(payload).nbytes, "crc": crc}
        header = BlockHeader(**self._told, **sizes, first=first, time_ns=1 + first * self._told["period_ns"])
        self._ring.write(*Block(header, b"", payload).to_blob(), time_ns=time.monotonic_ns())
        self._next += 1

    def write_until(self, blocks: float) -> None:
        """Put blocks in until there were so many."""
        while self._next < blocks:
            self.write()


def feed(codec: str, make: Callable[[], list[Buffer]], stream: str, job: Job, control: Control) -> None:
    """Fill a ring as fast as the recorder takes it."""
    with Context() as context:
        ring = BlockRing(job["rig"], stream, codec, make(), context)
        control.report()
        while True:
            ring.write()


def feed_steadily(codec: str, job: Job, control: Control) -> None:
    """Fill the rings of images and of 32 channels, together with `STORED_MB_S`."""
    pictures, signals = images(codec), samples()
    signals_hz = RATE / SAMPLES
    pictures_hz = (STORED_MB_S * 1e6 - signals_hz * _mean(signals)) / _mean(pictures)
    with Context() as context:
        camera = BlockRing(job["rig"], STREAM, codec, pictures, context)
        probe = BlockRing(job["rig"], SIGNAL, "blosc", signals, context)
        control.report(image_bytes=_mean(pictures), sample_bytes=_mean(signals) / SAMPLES)
        begin = time.monotonic()
        while True:
            passed = time.monotonic() - begin
            camera.write_until(passed * pictures_hz)
            probe.write_until(passed * signals_hz)
            time.sleep(0.002)


def record_steadily(folder: Path, job: Job, control: Control) -> None:
    """Record both streams as the recorder does; report the processor time it takes, in percent of a core."""
    from stations.recording import SessionRecorder
    from stations.recording.intake import Intake

    control.report()
    with Context() as context:
        intake = Intake(f"{job['rig']}/T/", Notices(context))
        session = SessionRecorder(folder / "recording", job["rig"], [STREAM, SIGNAL])
        intake.begin(session, time.monotonic())

        def work(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (now := time.monotonic()) < until:
                if not intake.do_work(now):
                    intake.wait(0.02)
                session.tick(now)

        def stored() -> float:
            images, samples = session.stream(STREAM).stored, session.stream(SIGNAL).stored
            return images * float(job["image_bytes"]) + samples * float(job["sample_bytes"])

        work(SETTLE_S)
        before, busy, begin = stored(), time.process_time(), time.monotonic()
        work(job["seconds"])
        spent = time.monotonic() - begin
        share, rate = (time.process_time() - busy) / spent * 100, (stored() - before) / spent / 1e6
        session.close()
        if rate < LEAST * STORED_MB_S:
            raise BenchError(f"{rate:.1f} MB/s were stored of {STORED_MB_S:g}: the disk, or the feeder, is too slow")
        control.report(share=share)


def _encoded(codec: str, flat: np.ndarray[Any, Any], itemsize: int) -> bytes:
    return bytes(codec_of(codec).encode(np.ascontiguousarray(flat), itemsize))


def _mean(payloads: Sequence[Buffer]) -> float:
    return sum(memoryview(payload).nbytes for payload in payloads) / len(payloads)
