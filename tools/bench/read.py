"""Images of a recording, read as a program reads them: opened, decoded and checked, one after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .promises import READ
from .rows import Row, at_least

if TYPE_CHECKING:
    from stations.recording import Recording

SHAPE: Final = (1080, 1920, 3)
STREAM: Final = "bench.cam0"
IMAGES: Final = 90


def measure_read(repeats: int, folder: Path | None, report: Callable[[str], None]) -> list[Row]:
    """Return the rows: images of a camera, 1920 x 1080 x 3, in a recording that was just written.

    Args:
        repeats: of each.
        folder: on the disk to record to; the system's folder for temporary files if None.
        report: hears how far it is.
    """
    from stations.recording import Recording

    rates: dict[str, list[float]] = {"in order": [], "backwards": []}
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-read-") as name:
        record(Path(name) / "recording")
        for repeat in range(repeats):
            for order, step in (("in order", 1), ("backwards", -1)):
                rates[order].append(_read(Recording(Path(name) / "recording"), step))
            report(f"repeat {repeat + 1} of {repeats}")
    return [at_least(f"1080p {order}", "images/s", values, READ) for order, values in rates.items()]


def record(folder: Path) -> None:
    """Record images that compress as a camera's do."""
    from pipeline.block import Block, BlockHeader
    from pipeline.codec import checksum, codec_of
    from pipeline.stream_spec import StreamSpec
    from stations.recording import SessionRecorder
    from stations.sources.camera import draw_images

    told: dict[str, Any] = {
        "stream": STREAM,
        "birth": 1,
        "dtype": '"|u1"',
        "shape": SHAPE,
        "block_items": 1,
        "period_ns": 33_333_333,
    }
    spec = StreamSpec(**told, slots=4, rate=30.0)
    pool = draw_images(SHAPE, seed=1)[:8]
    payloads = [bytes(codec_of("blosc").encode(image.reshape(-1), 1)) for image in pool]
    session = SessionRecorder(folder, "bench")
    for number, payload in enumerate(islice(cycle(payloads), IMAGES)):
        sizes: dict[str, Any] = {"raw_bytes": pool[0].nbytes, "payload_bytes": len(payload), "codec": "blosc"}
        place: dict[str, Any] = {"first": number, "count": 1, "time_ns": number * 33_333_333 + 1, "origin": 0}
        rest: dict[str, Any] = {"epoch": 0, "flags": 0, "lost": 0, "lost_reason": "", "crc": checksum(payload)}
        session.store(Block(BlockHeader(**told, **sizes, **place, **rest), b"", payload), spec)
        session.tick(number / 30)
    session.close()


def _read(recording: Recording, step: int) -> float:
    with recording:
        begun = time.perf_counter()
        stream = recording[STREAM]
        for index in range(len(stream))[::step]:
            stream[index]
        return len(stream) / (time.perf_counter() - begun)
