"""``wav``: a folder with a WAV file per stream of samples, the very values, and a table of when they were acquired.

Beyond 4 GiB it is an RF64 file.  A gap is not filled: the table says where it is.

Source:
    Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (1991); EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from stations.recording import StreamRecording
from stations.sources.riff import FLOAT, PCM, read_header

from .folder import AppendingSink, FolderFormat, make_folder, read_stamps, write_stamps
from .format import Digest, Piece, Sink
from .notes import Notes
from .selection import Selection, item_bytes

KINDS: Final = {"|u1": PCM, "<i2": PCM, "<i4": PCM, "<f4": FLOAT, "<f8": FLOAT}
_HEAD: Final = struct.Struct("<4sI4s4sIQQQI4sIHHIIHH4sI")
"""RIFF, size, WAVE; ds64 or JUNK with 28 bytes; fmt with 16; data."""
_MOST: Final = 0xFFFFFFFF


class Wav(FolderFormat):
    """``<stream>.wav`` and ``<stream>_stamps.csv``."""

    name: ClassVar[str] = "wav"
    suffix: ClassVar[str] = "-wav"

    def refuse(self, stream: StreamRecording) -> str:
        """A WAV file holds channels of samples at a rate."""
        if len(stream.head.shape) > 1 or not 0 < math.prod(stream.head.shape) <= 0xFFFF:
            return f"wav holds samples of channels, not items of shape {stream.head.shape}"
        if stream.dtype.str not in KINDS:
            return f"wav holds {', '.join(KINDS)}, not {stream.dtype.str}"
        return "" if stream.rate >= 1 else f"wav needs a rate of at least 1 Hz, not {stream.rate:g}"

    def begin(self, path: Path, selection: Selection, notes: Notes) -> Sink:
        """Make the folder with the tables of times."""
        make_folder(path, notes)
        for stream in selection.streams.values():
            write_stamps(path, stream)
        return WavSink(path, selection, {})

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> Sink:
        """Go on behind what was noted."""
        return WavSink(path, selection, state)

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read every file."""
        for name, stream in selection.streams.items():
            digest, step = Digest(), self.piece_items(stream)
            read_stamps(path, name, digest)
            if len(stream):
                with (path / f"{name}.wav").open("rb") as file:
                    header = read_header(file)
                    file.seek(header.start)
                    for begin in range(0, header.count, step):
                        count = min(step, header.count - begin)
                        content = file.read(count * item_bytes(stream))
                        digest.add_items(np.frombuffer(content, stream.dtype).reshape(count, *stream.head.shape))
            yield name, digest


class WavSink(AppendingSink):
    """Writes samples behind a header that knows how many there will be."""

    def path_of(self, name: str) -> Path:
        """Return the file of a stream."""
        return self._path / f"{name}.wav"

    def head(self, stream: StreamRecording) -> bytes:
        """Return the header."""
        each, size = item_bytes(stream), len(stream) * item_bytes(stream)
        channels = each // stream.dtype.itemsize
        whole = _HEAD.size - 8 + size
        large = whole > _MOST
        rate = round(stream.rate)
        return _HEAD.pack(
            b"RF64" if large else b"RIFF", _MOST if large else whole, b"WAVE",
            b"ds64" if large else b"JUNK", 28, whole if large else 0, size if large else 0,
            len(stream) if large else 0, 0,
            b"fmt ", 16, KINDS[stream.dtype.str], channels, rate, rate * each, each, 8 * stream.dtype.itemsize,
            b"data", _MOST if large else size,
        )  # fmt: skip

    def encode(self, piece: Piece) -> bytes:
        """Return the values as they are."""
        return piece.items().tobytes()
