"""One segment file after the other: flushed, synced on another thread, and told what became durable.

A stream has a lane for its live items, and one for those that come late out of a Pilot's spool.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from .disksync import DiskSync, Done


class Head(Protocol):
    """What is told of a segment that begins."""

    @property
    def birth(self) -> int:
        """Identity of the ring."""

    @property
    def epoch(self) -> int:
        """Takeovers of its writer."""

    @property
    def origin(self) -> int:
        """Where the recording of this birth began."""

    @property
    def first(self) -> int:
        """Sequence of the first item."""


class Segment(Protocol):
    """A file that is being written; belongs to one thread."""

    path: Path
    fd: int
    items: int
    bytes: int
    """Of its items, as they are stored."""
    began_ns: int
    """Time of its first item."""

    @property
    def head(self) -> Head:
        """Whose items they are."""

    @property
    def end(self) -> int:
        """The sequence after the last item."""

    def take_runs(self) -> list[tuple[int, int]]:
        """Return the runs of sequences that were stored since the last call, perhaps older ones again."""

    def runs_from(self, sequence: int) -> list[tuple[int, int]]:
        """Return the runs of stored sequences from one on."""

    def flush(self) -> int:
        """Make everything visible to readers."""

    def close(self) -> None:
        """Flush and close."""

    def abandon(self) -> int:
        """Close what can be closed after the disk failed; return the sequence after the last item kept."""


File = TypeVar("File", bound=Segment)


class Synced:
    """What is on the disk, as the sync thread tells it: (birth, first, end) by appending, or why the disk failed."""

    def __init__(self) -> None:
        self.ranges: deque[tuple[int, int, int]] = deque()
        self.closed: deque[tuple[Path, int, int]] = deque()
        """Files that are complete and on the disk: path, end, items."""
        self.failed = ""


class SegmentLane(Generic[File]):
    """The current segment; belongs to one thread.

    Args:
        sync: brings flushed bytes to the disk.
        synced: is told what is there.
    """

    def __init__(self, sync: DiskSync, synced: Synced) -> None:
        self.segment: File | None = None
        self.is_syncing = False
        self._sync = sync
        self._synced = synced

    def begin(self, segment: File) -> None:
        """Go on in a new segment; its name, too, is to survive a power loss."""
        self.segment = segment
        for folder in {segment.path.parent, segment.path.parent.parent}:
            self._sync.submit_folder(folder)

    def flush(self) -> None:
        """Make what is stored visible to readers, and ask for a sync unless one is under way.

        Raises:
            DiskError: the disk did not take it.
        """
        segment = self.segment
        if segment is None:
            return
        segment.flush()
        if not self.is_syncing:
            self.is_syncing = True
            self._sync.submit(segment.fd, self._on_synced(segment))

    def close(self) -> None:
        """End the segment, if there is one; its last bytes are synced and its descriptor closed on the sync thread.

        Raises:
            DiskError: the disk did not take it.
        """
        segment = self.segment
        if segment is None:
            return
        segment.close()
        self.segment = None
        self._sync.submit(segment.fd, self._on_synced(segment, close_fd=segment.fd))

    def abandon(self) -> tuple[File, int] | None:
        """Give the segment up after the disk failed; return it, and the sequence after the last item it kept."""
        segment, self.segment = self.segment, None
        if segment is None:
            return None
        kept = segment.abandon()
        self._sync.submit(segment.fd, _closing(segment.fd))
        return segment, kept

    def _on_synced(self, segment: File, close_fd: int = -1) -> Done:
        told = [(segment.head.birth, first, end) for first, end in segment.take_runs()]
        closed = (segment.path, segment.end, segment.items)

        def done(error: str) -> None:
            if error:
                self._synced.failed = error
            else:
                self._synced.ranges.extend(told)
            if close_fd >= 0:
                if not error:
                    self._synced.closed.append(closed)
                os.close(close_fd)
            else:
                self.is_syncing = False

        return done


def sync_file(sync: DiskSync, synced: Synced, path: Path, told: list[tuple[int, int, int]]) -> None:
    """Bring a file of an earlier process to the disk: that process may have died before it did."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def done(error: str) -> None:
        if not error:
            synced.ranges.extend(told)
        os.close(fd)

    sync.submit(fd, done)


def _closing(fd: int) -> Done:
    return lambda _error: os.close(fd)
