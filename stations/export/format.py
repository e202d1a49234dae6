"""What a format must do: hold streams, take them piece by piece, go on after an interruption, and be read again."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import checksum
from stations.recording import StreamRecording

from .notes import Notes
from .selection import Selection, item_bytes

PIECE_BYTES: Final = 4 * 1024 * 1024
SLAB: Final = 65536
"""Times that are written or read at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Items of one stream that are written at once, from position `begin` to `end`."""

    name: str
    stream: StreamRecording
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Of the items, decoded."""
        return (self.end - self.begin) * item_bytes(self.stream)

    @property
    def is_last(self) -> bool:
        """Whether the stream ends with it."""
        return self.end == len(self.stream)

    def items(self) -> NDArray[Any]:
        """Decode and return them, shape (n, *shape)."""
        return self.stream[self.begin : self.end]


class Digest:
    """Count and checksums of what was written or is read again; None: the format does not hold that bit for bit."""

    def __init__(self) -> None:
        self.count = 0
        self.data: int | None = None
        self.times: int | None = None

    def add_items(self, items: NDArray[Any]) -> None:
        """Go on with some items, shape (n, *shape)."""
        self.count += len(items)
        self.data = checksum_on(self.data, items)

    def add_times(self, times: NDArray[Any]) -> None:
        """Go on with some times, ns on the stream's clock."""
        self.times = checksum_on(self.times, np.asarray(times, "<i8"))

    def difference(self, other: Digest) -> str:
        """Say in what the other, which was read again, differs; empty if in nothing that it holds."""
        if self.count != other.count:
            return f"{other.count} items instead of {self.count}"
        if other.data is not None and self.data != other.data:
            return f"{self.count} items, and their bytes differ"
        if other.times is not None and self.times != other.times:
            return f"{self.count} items, and their times differ"
        return ""

    def __repr__(self) -> str:
        return f"<Digest {self.count} items>"


def checksum_on(crc: int | None, array: NDArray[Any]) -> int:
    """Return the CRC-32 that goes on with an array's bytes."""
    if not array.size:
        return crc or 0
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, crc or 0)


class Sink(ABC):
    """An export that is being written."""

    @abstractmethod
    def write(self, piece: Piece) -> None:
        """Take the next piece."""

    @abstractmethod
    def checkpoint(self) -> dict[str, Any] | None:
        """Hand everything to the system; return what `Format.resume` needs to go on here, None if it cannot."""

    @abstractmethod
    def finish(self) -> None:
        """Close: the export is whole."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything, whole or not; a second call does nothing."""


class Format(ABC):
    """One format; a class without state."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    """Ends the output's name where none is given; of a folder it begins with ``-``."""
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be installed for it, beside what reads recordings."""
    extra: ClassVar[str] = "export"
    """The extra that brings them."""
    lossy: ClassVar[str] = ""
    """What is lost, in words; empty: nothing."""

    def refuse(self, stream: StreamRecording) -> str:  # noqa: ARG002 - most hold everything
        """Say why the format cannot hold a stream; empty: it can."""
        return ""

    def pieces(self, selection: Selection) -> Iterator[Piece]:
        """Yield everything that is to be written, always the same; nothing is decoded yet."""
        for name, stream in selection.streams.items():
            step = self.piece_items(stream)
            for begin in range(0, len(stream), step):
                yield Piece(name, stream, begin, min(begin + step, len(stream)))

    def piece_items(self, stream: StreamRecording) -> int:
        """Return how many items are written at once."""
        return max(1, PIECE_BYTES // max(1, item_bytes(stream)))

    def bytes_needed(self, selection: Selection) -> int:  # noqa: ARG002 - most are compressed, or text
        """Return how many bytes the output has at least, as far as that is known before."""
        return 0

    @abstractmethod
    def begin(self, path: Path, selection: Selection, notes: Notes) -> Sink:
        """Begin an export with what goes along; nothing is at `path`."""

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> Sink:
        """Go on where a checkpoint was."""
        raise NotImplementedError(f"{self.name} gives no checkpoints: {path}, {selection}, {state}")

    @abstractmethod
    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read an export again; yield what was found of each stream."""

    @abstractmethod
    def read_notes(self, path: Path, names: list[str]) -> dict[str, list[str]]:
        """Read again what went along, lines by name."""

    def problems(self, path: Path) -> list[str]:  # noqa: ARG002 - most have no validator
        """Return what the format's own validator finds."""
        return []


def digest_of(stream: StreamRecording, step: int) -> Digest:
    """Return the digest of a recorded stream."""
    digest = Digest()
    digest.data = digest.times = 0
    for begin in range(0, len(stream), step):
        digest.add_items(stream[begin : begin + step])
    for begin in range(0, len(stream), SLAB):
        digest.add_times(stream.time[begin : begin + SLAB])
    return digest


def checksum_of_lines(lines: list[str]) -> tuple[int, int]:
    """Return how many lines there are and their checksum."""
    return len(lines), checksum("\n".join(lines).encode())
