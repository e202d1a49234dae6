"""What is exported: streams, cut to a window of time, without what is damaged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from stations.recording import Recording, SegmentFormatError, StreamChangedError, StreamRecording

from .errors import ExportError

DAMAGED: Final = "damaged"
"""Reason of the gap that a damaged block leaves in an export."""
NS: Final = 1_000_000_000
Progress = Callable[[str, int, int], None]
"""Hears what is done ("check", "write", "verify"), how many bytes of it are, and of how many."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the recording, in seconds since its first item; None: to its end."""

    from_s: float = 0.0
    to_s: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is cut off."""
        return self.from_s == 0 and self.to_s is None

    def __str__(self) -> str:
        return f"from {self.from_s:g} s to {'its end' if self.to_s is None else f'{self.to_s:g} s'}"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported."""

    recording: Recording
    streams: Mapping[str, StreamRecording]
    window: Window = Window()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Streams that the format cannot hold, and why."""
    damaged: tuple[str, ...] = ()
    """One sentence for each damaged block or file: stream, file, item."""

    @property
    def nbytes(self) -> int:
        """Of all items, decoded."""
        return sum(len(stream) * item_bytes(stream) for stream in self.streams.values())

    def utc_bounds(self) -> tuple[int, int]:
        """Return between which times since 1970 (ns) everything that is exported lies.

        Raises:
            ExportError: the recording has no item at all.
        """
        extent = self.recording.extent
        if extent is None:
            raise ExportError(f"{self.recording.path}: no item can be read; see pipeline verify")
        to_ns = extent.end_ns if self.window.to_s is None else extent.begin_ns + round(self.window.to_s * NS)
        return extent.begin_ns + round(self.window.from_s * NS), to_ns

    def fingerprint(self) -> dict[str, list[int]]:
        """Return what changes when other items are selected: by stream, how many and a checksum of where they are."""
        return {name: [len(stream), zlib.crc32(stream.table.chunks.tobytes())] for name, stream in self.streams.items()}


def item_bytes(stream: StreamRecording) -> int:
    """Return the bytes of one item, decoded."""
    size = stream.dtype.itemsize
    for length in stream.head.shape:
        size *= length
    return size


def select(
    recording: Recording,
    names: Iterable[str],
    window: Window,
    refuse: Callable[[StreamRecording], str],
    progress: Progress,
) -> Selection:
    """Choose the streams and compare each of their blocks with its CRC.

    Args:
        recording: where from.
        names: streams that were asked for; none: all that the format can hold.
        window: the part of time.
        refuse: says why the format cannot hold a stream; empty: it can.
        progress: hears how far the check is.

    Raises:
        ExportError: a stream is not there, or was asked for and cannot be held; nothing is left.
    """
    asked = {_named(recording, name): None for name in names}
    left_out, streams = {}, {}
    damaged: list[str] = []
    for name in asked or recording:
        try:
            stream = _cut(recording, recording[name], window)
            damaged += [f"{name}: {problem}" for problem in stream.problems]
        except StreamChangedError as error:
            left_out[name] = str(error)
            damaged.append(f"{name}: {error}")
            continue
        if not stream.table.heads:
            left_out[name] = f"no file of it can be read: {'; '.join(stream.problems)}"
            continue
        reason = refuse(stream)
        if reason and asked:
            raise ExportError(f"{name}: {reason}")
        if reason:
            left_out[name] = reason
        else:
            streams[name] = stream
    if not streams:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "the recording has no stream"
        raise ExportError(f"{recording.path}: nothing to export: {why}")
    if not window.is_all and not any(map(len, streams.values())):
        raise ExportError(f"{recording.path}: no item lies {window}; {_lasts(recording)}")
    return Selection(recording, _whole(streams, damaged, progress), window, left_out, tuple(damaged))


def _lasts(recording: Recording) -> str:
    extent = recording.extent
    return f"the recording lasts {extent.length_ns / NS:.3f} s" if extent else "the recording has no item at all"


def _named(recording: Recording, name: str) -> str:
    try:
        return recording[name].name
    except KeyError as error:
        raise ExportError(str(error.args[0])) from error


def _cut(recording: Recording, stream: StreamRecording, window: Window) -> StreamRecording:
    extent = None if window.is_all else recording.extent
    if extent is None:
        return stream
    domains = {head.birth: head.clock_domain for head in stream.table.heads}
    to_ns = extent.length_ns if window.to_s is None else round(window.to_s * NS)

    def bounds(birth: int) -> tuple[int, int]:
        return extent.on_clock(domains[birth], round(window.from_s * NS)), extent.on_clock(domains[birth], to_ns)

    return stream.part(stream.table.between(bounds))


def _whole(
    streams: Mapping[str, StreamRecording], damaged: list[str], progress: Progress
) -> dict[str, StreamRecording]:
    """Return the streams without damaged blocks, which are told in `damaged`."""
    total, done = sum(len(stream) * item_bytes(stream) for stream in streams.values()), 0
    found = {}
    for name, stream in streams.items():
        bad = []
        for index, (begin, end) in enumerate(pairwise(stream.table.begins.tolist())):
            try:
                stream.check_chunk(index)
            except SegmentFormatError as error:
                bad.append(index)
                damaged.append(str(error))
            done += (end - begin) * item_bytes(stream)
            progress("check", done, total)
        found[name] = stream.without(bad, DAMAGED) if bad else stream
    return found
