"""Reads the header of a WAV file: where the samples are and what they are.

The standard library's `wave` knows integer PCM in a plain header only; recorders also write floats, extensible headers
(more than two channels, more than 16 bits) and, beyond 4 GiB, RF64.

Source:
    Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (1991); WAVEFORMATEXTENSIBLE (mmreg.h);
    EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

PCM: Final = 0x0001
FLOAT: Final = 0x0003
EXTENSIBLE: Final = 0xFFFE
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_NAMES: Final = {0x0002: "ADPCM", 0x0006: "A-law", 0x0007: "mu-law", 0x0011: "IMA ADPCM", 0x0055: "MP3"}
_FORMAT: Final = struct.Struct("<HHIIHH")
_CHUNK: Final = struct.Struct("<4sI")


class RiffError(ValueError):
    """Not a WAV file, or not one of samples; the message says what was found."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a WAV file says of itself."""

    kind: int
    """`PCM` or `FLOAT`."""
    channels: int
    rate: float
    """Samples per second of each channel."""
    sample_bytes: int
    """Of one value in the file; 12 bits, say, are kept in 2."""
    start: int
    """Offset of the first sample."""
    count: int
    """Whole samples (of all channels) that are in the file."""


def read_header(file: BinaryIO) -> WavHeader:
    """Read the header; the position is afterwards undefined.

    A file whose recorder died, with a size of 0 or too large a one, is taken to go on to its end.

    Raises:
        RiffError: not a WAV file, compressed, or broken.
    """
    magic, _, form = struct.unpack("<4sI4s", _exactly(file, 12))
    if magic == b"RIFX":
        _refuse("its numbers are big-endian (RIFX)")
    if magic not in (b"RIFF", b"RF64", b"BW64") or form != b"WAVE":
        _refuse("it does not begin with RIFF and WAVE")
    body: bytes | None = None
    large: int | None = None
    while True:
        name, size = _CHUNK.unpack(_exactly(file, _CHUNK.size))
        if name == b"data":
            break
        content = _exactly(file, size)
        file.seek(size & 1, os.SEEK_CUR)  # chunks are padded to an even length
        if name == b"fmt ":
            body = content
        elif name == b"ds64":
            large = int.from_bytes(content[8:16], "little")
    if body is None:
        _refuse("its samples come before their format")
    return _header(file, body, large if size == _UNKNOWN_SIZE and large else size)


def _header(file: BinaryIO, body: bytes, size: int) -> WavHeader:
    if len(body) < _FORMAT.size:
        _refuse("its format chunk is cut off")
    kind, channels, rate, _, frame_bytes, _ = _FORMAT.unpack_from(body)
    if kind == EXTENSIBLE and len(body) >= 26:
        kind = int.from_bytes(body[24:26], "little")  # the first two bytes of the sub-format's GUID
    if kind not in (PCM, FLOAT):
        _refuse(f"it is compressed ({_NAMES.get(kind, f'format {kind:#06x}')})")
    if channels == 0 or rate == 0 or frame_bytes == 0 or frame_bytes % channels:
        _refuse(f"its header is broken: {channels} channels at {rate} Hz in {frame_bytes} bytes a sample")
    start = file.tell()
    there = file.seek(0, os.SEEK_END) - start
    length = there if size in (0, _UNKNOWN_SIZE) else min(size, there)
    return WavHeader(kind, channels, float(rate), frame_bytes // channels, start, length // frame_bytes)


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        _refuse("it ends before its samples begin")
    return content


def _refuse(reason: str) -> NoReturn:
    raise RiffError(reason)
