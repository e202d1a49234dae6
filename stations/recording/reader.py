"""Reads a recording as a whole: streams, segments, items; h5py and our own codecs suffice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stations.rows_ring import PREFIX, key_name
from stations.suggest import did_you_mean

from .clocks import Clocks
from .errors import RecordingFolderError
from .extent import Extent, extent_of, pieces_of
from .journal import FILE_NAME, Event, JournalReading, read_journal
from .reasons import Gap
from .resume import rows_of, segments_of, told_gaps
from .rows_reader import RowsReader
from .stream_recording import StreamRecording


class Recording(Mapping[str, StreamRecording]):
    """A recording's folder: a mapping from stream names to streams; opening it reads names only.

    ``recording["pilot1.cam0"]``, or ``recording["cam0"]`` where only one Pilot has a cam0.

    Args:
        path: the folder; the recording may be running, closed, or its recorder killed.

    Raises:
        RecordingFolderError: no recording is there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path = Path(path)
        if not path.is_dir() or not (path / FILE_NAME).exists():
            raise RecordingFolderError(f"{path}: no recording is there (no {FILE_NAME})")
        self._rows = rows_of(path)
        self._paths = segments_of(path)
        self._streams: dict[str, StreamRecording] = {}

    @property
    def events(self) -> tuple[Event, ...]:
        """What the journal tells, in its order."""
        return self._reading.events

    @cached_property
    def clocks(self) -> Clocks:
        """What its probes tell of the machines' clocks."""
        return Clocks(self._reading)

    @cached_property
    def extent(self) -> Extent | None:
        """When it begins and ends; None if no item can be read."""
        return extent_of(piece for paths in self._paths.values() for piece in pieces_of(paths))

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
        """Read the recording's events as they are now."""
        return read_journal(self.path / FILE_NAME)

    def __getitem__(self, stream: str) -> StreamRecording:
        name = self._name_of(stream)
        if name not in self._streams:
            told = {birth: gaps for (of, birth), gaps in self._told.items() if of == name}
            self._streams[name] = StreamRecording(name, self._paths[name], told, lambda: self.clocks)
        return self._streams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def close(self) -> None:
        """Close the files that are open; they are opened again when they are needed."""
        for stream in self._streams.values():
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @cached_property
    def _reading(self) -> JournalReading:
        return self.journal()

    @cached_property
    def _told(self) -> dict[tuple[str, int], list[Gap]]:
        return told_gaps(self._reading)

    def _name_of(self, stream: str) -> str:
        if stream in self._paths:
            return stream
        found = [name for name in self._paths if name.partition(".")[2] == stream]
        if len(found) != 1:
            which = f"which one: {', '.join(found)}?" if found else did_you_mean(stream, self._paths)
            raise KeyError(f"{self.path.name} has no stream {stream!r}; {which}")
        return found[0]

    def __repr__(self) -> str:
        return f"<Recording {self.path} streams={len(self)}>"


def _rows_in(path: Path) -> Iterator[dict[str, Any]]:
    with RowsReader(path) as rows:
        yield from rows
