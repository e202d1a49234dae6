"""Reads a recording as a whole: streams, segments, items; h5py and our own codecs suffice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from stations.rows_ring import PREFIX, key_name

from .errors import RecordingFolderError
from .journal import FILE_NAME, JournalReading, read_journal
from .resume import rows_of, segments_of
from .rows_reader import RowsReader
from .segment_reader import SegmentReader


class RecordedItem(NamedTuple):
    """One item of a recording."""

    data: NDArray[Any]
    """Shape and dtype of the stream."""
    sequence: int
    time_ns: int
    """The stream's CLOCK_MONOTONIC at acquisition."""
    birth: int


class StreamRecording:
    """One stream of a recording, across its segments."""

    def __init__(self, name: str, paths: list[Path]) -> None:
        self.name = name
        self.paths = paths

    def segments(self) -> Iterator[SegmentReader]:
        """Open the segments one after the other; each is closed when the next is asked for."""
        for path in self.paths:
            with SegmentReader(path) as segment:
                yield segment

    def __iter__(self) -> Iterator[RecordedItem]:
        """Yield every item, decoded, in the order of the files."""
        for segment in self.segments():
            for chunk in segment:
                items = segment.decode(chunk)
                for index, item in enumerate(items):
                    yield RecordedItem(item, chunk.first + index, int(chunk.times[index]), segment.head.birth)

    def __len__(self) -> int:
        """How many items are stored."""
        return sum(segment.items for segment in self.segments())

    def __repr__(self) -> str:
        return f"<StreamRecording {self.name} segments={len(self.paths)}>"


class Recording(Mapping[str, StreamRecording]):
    """A recording's folder: a mapping from stream names to streams.

    Args:
        path: the folder; the recording may be running, closed, or its recorder killed.

    Raises:
        RecordingFolderError: no recording is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir() or not (path / FILE_NAME).exists():
            raise RecordingFolderError(f"{path}: no recording is there (no {FILE_NAME})")
        self._rows = rows_of(path)
        self._streams = {name: StreamRecording(name, paths) for name, paths in segments_of(path).items()}

    @property
    def row_keys(self) -> list[str]:
        """The keys of message rows that were recorded."""
        return [stream.removeprefix(PREFIX) for stream in self._rows]

    def rows(self, key: str) -> Iterator[dict[str, Any]]:
        """Yield the message rows of a key, read as they are asked for.

        Args:
            key: as it was sent, or as `row_keys` has it.

        Yields:
            `sequence` from 0, `time_ns` (when the Terminal accepted it, its CLOCK_MONOTONIC), `birth` of the ring,
            `sender`, `timestamp` (when it was made, ISO 8601), `value`, and `extra`, the message's other attributes.

        Raises:
            KeyError: no row of that key was recorded.
            SegmentFormatError: a file is damaged.
        """
        paths = self._rows[f"{PREFIX}{key_name(key)}"]
        return (row for path in paths for row in _rows_in(path))

    def journal(self) -> JournalReading:
        """Read the recording's events."""
        return read_journal(self.path / FILE_NAME)

    def __getitem__(self, stream: str) -> StreamRecording:
        return self._streams[stream]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def __repr__(self) -> str:
        return f"<Recording {self.path} streams={len(self)}>"


def _rows_in(path: Path) -> Iterator[dict[str, Any]]:
    with RowsReader(path) as rows:
        yield from rows
