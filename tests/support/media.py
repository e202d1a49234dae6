"""Small files made for a test, and the real recordings that some machines have beside the checkout."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

_BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def real_file(name: str) -> Path:
    """Return a real recording; skip the test where there is none (PIPELINE_DATA names their folder)."""
    path = Path(os.environ.get("PIPELINE_DATA", _BESIDE)) / name
    if not path.is_file():
        pytest.skip(f"no {name} in {path.parent}; set PIPELINE_DATA to the folder that has it")
    return path


def make_video(path: Path, *, count: int = 12, size: tuple[int, int] = (48, 64), rate: int = 25) -> Path:
    """Write an H.264 file of ``count`` images that all differ; ``size`` is (height, width)."""
    av = pytest.importorskip("av")
    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(count):
            image = np.zeros((height, width, 3), np.uint8)
            image[:, : 1 + index * width // count] = (200, 20 * index % 256, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode_video(path: Path) -> NDArray[np.uint8]:
    """Decode a whole file directly, shape (n, height, width, 3)."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def make_wav(
    path: Path,
    content: bytes,
    *,
    channels: int,
    sample_bytes: int,
    rate: int = 1000,
    kind: int = 1,
    size: int | None = None,
    extra: bytes = b"",
) -> Path:
    """Write a WAV file by hand: ``kind`` is the format tag, ``size`` what the data chunk claims, ``extra`` chunks."""
    frame = channels * sample_bytes
    body = struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, 8 * sample_bytes)
    if kind == 0xFFFE:
        body += struct.pack("<HHI", 22, 8 * sample_bytes, 0) + b"\x01\x00" + bytes(14)
    chunks = b"fmt " + struct.pack("<I", len(body)) + body + extra
    chunks += b"data" + struct.pack("<I", len(content) if size is None else size) + content
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path
